package vault

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Reading the metadata of ten thousand files with age took half of the time of a check and
// most of its memory. So a file that is spelled as age writes it is read here; anything
// else is left to age, which alone decides what is refused, and why. FuzzScan tests that
// both agree on what is accepted here.

// A scanner reads vault files one after the other, in the same memory.
type scanner struct {
	file []byte // the binary age file
	rest []byte // of file, what was not read yet
	body []byte // of the last stanza
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// Both decoders refuse other spellings, but ignore line ends.
var (
	padded   = base64.StdEncoding.Strict()
	unpadded = base64.RawStdEncoding.Strict()
)

const (
	columns = 64              // base64 characters in a line
	perLine = columns / 4 * 3 // bytes

	maxStanzas = 512 // words in the first line of a stanza; age accepts more
	maxWords   = 64
)

// scanMeta returns the metadata of a vault file that is spelled as age writes it, if
// [findMeta] would accept it.
func scanMeta(text []byte) (Meta, bool) {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	if !s.dearmor(text) {
		return Meta{}, false
	}
	ours, others := s.header()
	if ours == nil {
		return Meta{}, false
	}
	m, err := parseStanza(ours)
	return m, err == nil && len(m.Recipients) <= others
}

// dearmor accepts a text with LF at the end of each line, and nothing before or after it.
func (s *scanner) dearmor(text []byte) bool {
	text, begins := bytes.CutPrefix(text, []byte(armor.Header+"\n"))
	text, ends := bytes.CutSuffix(text, []byte("\n"+armor.Footer+"\n"))
	if !begins || !ends || bytes.IndexByte(text, '\r') >= 0 {
		return false
	}
	s.file = s.file[:0]
	for last := false; !last; {
		line, after, more := bytes.Cut(text, []byte("\n"))
		text, last = after, !more
		if len(line) == 0 || len(line) > columns {
			return false
		}
		before := len(s.file)
		var err error
		s.file, err = padded.AppendDecode(s.file, line)
		if err != nil || !last && len(s.file)-before != perLine {
			return false
		}
	}
	return true
}

// header reads the stanzas: ours, if there is exactly one, and the number of others. It
// returns nil if age would not accept the header.
func (s *scanner) header() (ours *age.Stanza, others int) {
	s.rest = s.file
	if line, ok := s.line(); !ok || string(line) != "age-encryption.org/v1" {
		return nil, 0
	}
	for range maxStanzas {
		line, ok := s.line()
		if !ok {
			return nil, 0
		}
		if mac, ok := bytes.CutPrefix(line, []byte("--- ")); ok {
			s.body = s.body[:0]
			if !s.decode(mac) || len(s.body) != 32 {
				return nil, 0
			}
			return ours, others
		}
		args, ok := bytes.CutPrefix(line, []byte("-> "))
		if !ok || !areArgs(args) || !s.readBody() {
			return nil, 0
		}
		kind, args, _ := bytes.Cut(args, []byte(" "))
		switch {
		case string(kind) != stanzaType:
			others++
		case ours != nil:
			return nil, 0
		default:
			ours = &age.Stanza{Type: stanzaType, Args: strings.Split(string(args), " "), Body: bytes.Clone(s.body)}
		}
	}
	return nil, 0
}

// line returns the next one, if it has an end.
func (s *scanner) line() (line []byte, ok bool) {
	line, s.rest, ok = bytes.Cut(s.rest, []byte("\n"))
	return line, ok
}

// readBody reads the lines of a stanza, the last of which is a short one.
func (s *scanner) readBody() bool {
	s.body = s.body[:0]
	for {
		line, ok := s.line()
		if !ok || len(line) > columns || !s.decode(line) {
			return false
		}
		if len(line) < columns {
			return true
		}
	}
}

func (s *scanner) decode(line []byte) bool {
	if bytes.IndexByte(line, '\r') >= 0 {
		return false
	}
	var err error
	s.body, err = unpadded.AppendDecode(s.body, line)
	return err == nil
}

// areArgs reports whether a line consists of words of visible ASCII characters with single
// spaces between them.
func areArgs(line []byte) bool {
	if bytes.Count(line, []byte(" ")) >= maxWords {
		return false
	}
	before := byte(' ')
	for _, c := range line {
		if c < ' ' || c > '~' || c == ' ' && before == ' ' {
			return false
		}
		before = c
	}
	return before != ' '
}
