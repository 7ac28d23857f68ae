package ui

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable makes s harmless for a terminal, whoever wrote it: a repository and a host may
// contain escape sequences, or characters that show a line in another order than it has
// (Unicode Technical Report 36, section 2.5). Newlines and tabs stay.
//
// The spelling is that of JSON where JSON leaves a character as it is (RFC 8259,
// section 7), so that JSON stays JSON of the same meaning.
func Printable(s string) string {
	if plain(s) || !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch _, size := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !harmful(r):
			b.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// plain reports whether s is printable ASCII, as nearly all is: to look at bytes alone takes a
// fifth of the time.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

func harmful(r rune) bool {
	if ' ' <= r && r <= '~' { // unicode.IsPrint is slower
		return false
	}
	return r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' && r != '\t'
}

// A Screen is a Writer that makes what it gets printable, and passes it on.
type Screen struct {
	W    io.Writer
	part []byte // the beginning of a character
}

func (s *Screen) Write(p []byte) (int, error) {
	s.part = append(s.part, p...)
	n := len(s.part)
	for back := 1; back < utf8.UTFMax && back <= n; back++ {
		if tail := s.part[n-back:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				n -= back
			}
			break
		}
	}
	_, err := io.WriteString(s.W, Printable(string(s.part[:n])))
	s.part = append(s.part[:0], s.part[n:]...)
	return len(p), err
}

// Flush passes on a character that was not completed.
func (s *Screen) Flush() error {
	_, err := io.WriteString(s.W, Printable(string(s.part)))
	s.part = nil
	return err
}
