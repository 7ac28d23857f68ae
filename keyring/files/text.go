package files

import (
	"bytes"
	"errors"
	"regexp"
	"sync"
	"unicode/utf8"
)

// ErrConflict is the error for a file in which git has left both sides of a merge
// that it could not decide.
var ErrConflict = errors.New("git has left conflict markers in it: a merge was not finished")

var errCR = errors.New("its lines end with CR alone: save it with LF, or CRLF, at their ends")

var errUTF16 = errors.New("it is in UTF-16: save it as UTF-8")

// mark is the byte order mark of UTF-8, which some editors write in front of a text.
// It is no part of the text (RFC 3629, section 6).
var mark = []byte("\xef\xbb\xbf")

// Text returns what is in a text file, without a byte order mark. What reads a line
// of it takes CRLF for the end of one, as git and editors on other systems write it.
func Text(text []byte) []byte { return bytes.TrimPrefix(text, mark) }

// markers are what git writes between the sides of a conflict, at the beginning of
// lines (git-merge(1), "How conflicts are presented").
var markers = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(?:<{7,}|>{7,}|\|{7,}|={7,})(?: .*)?\r?$`)
})

// Unreadable returns why a text that could not be parsed is none of the kind that
// wgkeys writes, if that can be told without knowing what it should be: nil if not.
func Unreadable(text []byte) error {
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

// Better returns why a text could not be parsed: as [Unreadable] has it, or else err.
func Better(text []byte, err error) error {
	if why := Unreadable(text); err != nil && why != nil {
		return why
	}
	return err
}
