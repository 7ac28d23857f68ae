// Package stanza reads and writes the stanzas of the age plugin protocol (C2SP age.md,
// "Recipient stanza", and age-plugin.md). Those of vault files are handled by age itself,
// whose own code for it is internal.
package stanza

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
)

const (
	columns = 64
	maxBody = 1 << 20 // bytes that a plugin may send in one stanza
)

// Base64 is age's encoding: without padding, and strict about stray bits.
var Base64 = base64.RawStdEncoding.Strict()

// ErrSyntax is the error for what is not a stanza.
var ErrSyntax = errors.New("it does not speak as an age plugin does")

// Write writes s as C2SP age.md spells it.
func Write(w io.Writer, s *age.Stanza) error {
	var b strings.Builder
	b.WriteString("-> " + strings.Join(append([]string{s.Type}, s.Args...), " ") + "\n")
	body := Base64.EncodeToString(s.Body)
	for ; len(body) >= columns; body = body[columns:] {
		b.WriteString(body[:columns] + "\n")
	}
	b.WriteString(body + "\n") // the last line is shorter than the others, if necessary empty
	_, err := io.WriteString(w, b.String())
	return err
}

// Read accepts what [Write] writes and nothing else.
func Read(r *bufio.Reader) (*age.Stanza, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	words := strings.Split(line, " ")
	if words[0] != "->" || len(words) < 2 || slices.ContainsFunc(words, notVisible) {
		return nil, ErrSyntax
	}
	s := &age.Stanza{Type: words[1], Args: words[2:]}
	for len(s.Body) < maxBody {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		b, err := Base64.DecodeString(line)
		if err != nil || len(line) > columns || strings.Contains(line, "\r") {
			return nil, ErrSyntax
		}
		s.Body = append(s.Body, b...)
		if len(line) < columns {
			return s, nil
		}
	}
	return nil, ErrSyntax
}

// readLine returns a line, without its end, that fits into the buffer of r.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", ErrSyntax
	}
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	return string(line[:len(line)-1]), nil
}

// notVisible reports whether s cannot be an argument of a stanza: arguments are visible
// ASCII characters.
func notVisible(s string) bool {
	return s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < '!' || c > '~' })
}
