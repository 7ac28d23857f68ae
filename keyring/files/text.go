package files

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"wgkeys/keyring/fault"
)

// ErrConflict is the error for a file in which git has left both sides of a merge
// that it could not decide.
var ErrConflict = errors.New("git has left conflict markers in it: a merge was not finished")

var errCR = errors.New("its lines end with CR alone: save it with LF, or CRLF, at their ends")

var errUTF16 = errors.New("it is in UTF-16: save it as UTF-8")

// mark is the byte order mark of UTF-8, which some editors write in front of a text. It is
// not part of the text (RFC 3629, section 6).
var mark = []byte("\xef\xbb\xbf")

// Text returns the content of a text file, without a byte order mark. Its reader takes CRLF
// as an end of line, as git and editors on other systems write it.
func Text(text []byte) []byte { return bytes.TrimPrefix(text, mark) }

// markers are what git writes between the sides of a conflict, at the beginning of
// lines (git-merge(1), "How conflicts are presented").
var markers = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(?:<{7,}|>{7,}|\|{7,}|={7,})(?: .*)?\r?$`)
})

// elsewhere are the beginnings of what tools of git leave in a working tree until the file
// itself is brought (git-lfs-pointer(1), git-annex's pointer files, git-crypt's README).
var elsewhere = []struct{ begins, why, hint string }{
	{"version https://git-lfs.github.com/spec/", "Git LFS has put a pointer there, and not brought the file",
		"git lfs pull"},
	{"/annex/objects/", "git-annex has put a pointer there, and not brought the file", "git annex get ."},
	{"\x00GITCRYPT\x00", "git-crypt has encrypted it", "git-crypt unlock"},
}

// Away returns why there is no file at the end of a link, if git-annex keeps it elsewhere.
func Away(path string) error {
	to, err := os.Readlink(path)
	if err != nil || !strings.Contains(filepath.ToSlash(to), "/annex/objects/") {
		return nil
	}
	return &fault.Fault{What: "git-annex has put a link there, and not brought the file", Hint: "git annex get ."}
}

// Brings returns the hint of an error of [Unreadable], or else hint: what brings a file that
// is elsewhere.
func Brings(err error, hint string) string {
	if f, ok := err.(*fault.Fault); ok && f.Hint != "" {
		return "" // which it has itself
	}
	return hint
}

// Unreadable returns why a text that could not be parsed cannot be right, if that can be
// said without knowing its format: it is kept elsewhere, conflict markers, UTF-16, or lines
// that end with CR alone; otherwise nil.
func Unreadable(text []byte) error {
	for _, o := range elsewhere {
		if bytes.HasPrefix(text, []byte(o.begins)) && len(text) < 1<<12 {
			return &fault.Fault{What: o.why, Hint: o.hint}
		}
	}
	switch {
	case len(text) >= 2 && (text[0] == 0xff && text[1] == 0xfe || text[0] == 0xfe && text[1] == 0xff) && !utf8.Valid(text):
		return errUTF16
	case markers().Match(text):
		return ErrConflict
	case bytes.IndexByte(text, '\r') >= 0 && bytes.IndexByte(text, '\n') < 0:
		return errCR
	}
	return nil
}

// lookalikes are characters that word processors, messengers and web pages write in the
// place of one of ASCII, or of none, and which a reader can hardly see.
var lookalikes = map[rune]string{
	'\u00a0': "a no-break space", '\u202f': "a narrow no-break space", '\u3000': "an ideographic space",
	'\u2009': "a thin space", '\u200b': "a zero width space", '\u200d': "a zero width joiner",
	'\u200e': "a left-to-right mark", '\u2060': "a word joiner", '\ufeff': "a byte order mark",
	'\u201c': "a typographic quotation mark", '\u201d': "a typographic quotation mark",
	'\u201e': "a typographic quotation mark", '\u00ab': "a typographic quotation mark",
	'\u00bb': "a typographic quotation mark", '\u2018': "a typographic apostrophe",
	'\u2019': "a typographic apostrophe", '\u2013': "an en dash", '\u2014': "an em dash",
	'\u2212': "a minus sign", '\uff0c': "a full-width comma", '\uff1d': "a full-width equals sign",
}

// Lookalike returns why rest, from where a parser stopped to the end of the text, cannot
// go on, if its first character is none of ASCII: nil if it is. Parsers that go by bytes
// name the first byte of such a character, as if it were another one.
func Lookalike(rest []byte) error {
	c, size := utf8.DecodeRune(rest)
	switch name := lookalikes[c]; {
	case c < utf8.RuneSelf, c == utf8.RuneError && size < 2:
		return nil
	case name != "":
		return fmt.Errorf("%s (%U), as in pasted text: type it again", name, c)
	}
	return fmt.Errorf("the character %q (%U) can only be in quotes, or in a comment", c, c)
}

// Better returns why a text could not be parsed: as [Unreadable] has it, or else err.
func Better(text []byte, err error) error {
	if why := Unreadable(text); err != nil && why != nil {
		return why
	}
	return err
}
