// Package stanza reads and writes the stanzas that age and its plugins speak in
// (C2SP age.md, "Recipient stanza", and age-plugin.md). Those of vault files go
// through age itself, whose own code for it is not for others to import.
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
	maxBody = 1 << 20 // bytes; what a plugin may say at once
)

// Base64 is the encoding of age: unpadded, and no stray bit is taken.
var Base64 = base64.RawStdEncoding.Strict()

// ErrSyntax is the error for what is no stanza.
var ErrSyntax = errors.New("it does not speak as an age plugin does")

// Write writes s as C2SP age.md spells it.
func Write(w io.Writer, s *age.Stanza) error {
	var b strings.Builder
	b.WriteString("-> " + strings.Join(append([]string{s.Type}, s.Args...), " ") + "\n")
	body := Base64.EncodeToString(s.Body)
	for ; len(body) >= columns; body = body[columns:] {
		b.WriteString(body[:columns] + "\n")
	}
	b.WriteString(body + "\n") // the last line is a short one, if need be empty
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

// readLine returns a line that fits into the buffer of r, without its end.
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

// notVisible tells whether s is no argument of a stanza: those are of visible
// ASCII characters.
func notVisible(s string) bool {
	return s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < '!' || c > '~' })
}
