package vault

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
)

// This file reads and writes the stanzas that age and its plugins speak in
// (C2SP age.md, "Recipient stanza", and age-plugin.md). Those of vault files go
// through age itself, whose own code for it is not for others to import.

const (
	stanzaColumns = 64
	maxStanzaBody = 1 << 20 // bytes; what a plugin may say at once
)

// base64Strict refuses stray bits, as age does.
var base64Strict = base64.RawStdEncoding.Strict()

var errStanza = errors.New("it does not speak as an age plugin does")

func writeStanza(w io.Writer, s *age.Stanza) error {
	var b strings.Builder
	b.WriteString("-> " + strings.Join(append([]string{s.Type}, s.Args...), " ") + "\n")
	body := base64.RawStdEncoding.EncodeToString(s.Body)
	for ; len(body) >= stanzaColumns; body = body[stanzaColumns:] {
		b.WriteString(body[:stanzaColumns] + "\n")
	}
	b.WriteString(body + "\n") // the last line is a short one, if need be empty
	_, err := io.WriteString(w, b.String())
	return err
}

// readStanza accepts what writeStanza writes and nothing else.
func readStanza(r *bufio.Reader) (*age.Stanza, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	words := strings.Split(line, " ")
	if words[0] != "->" || len(words) < 2 || slices.ContainsFunc(words, notVisible) {
		return nil, errStanza
	}
	s := &age.Stanza{Type: words[1], Args: words[2:]}
	for len(s.Body) < maxStanzaBody {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		b, err := base64Strict.DecodeString(line)
		if err != nil || len(line) > stanzaColumns || strings.Contains(line, "\r") {
			return nil, errStanza
		}
		s.Body = append(s.Body, b...)
		if len(line) < stanzaColumns {
			return s, nil
		}
	}
	return nil, errStanza
}

// readLine returns a line that fits into the buffer of r, without its end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errStanza
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
