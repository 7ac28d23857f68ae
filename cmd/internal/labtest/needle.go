package labtest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Needles are secrets in all the forms in which a program could leave them, for one search.
type Needles struct {
	start   [1 << 16]bool       // whether a needle begins with these two bytes
	by      map[uint64][]needle // by their first eight bytes
	longest int
}

// A needle is one form of one secret; what describes both.
type needle struct {
	text []byte
	what string
}

// Add adds the forms of a key: its bytes, as the kernel takes them; base64, with and
// without padding and in both alphabets, and base64 of that, as JSON has the bytes of a key
// file; hexadecimal, as the userspace device takes it; and lists of bytes as programs print
// them.
func (n *Needles) Add(key []byte, of string) {
	text := base64.StdEncoding.EncodeToString(key)
	n.Put(key, of+", raw")
	n.Put([]byte(strings.TrimRight(text, "=")), of+", base64")
	n.Put([]byte(base64.RawURLEncoding.EncodeToString(key)), of+", base64url")
	n.Put([]byte(base64.RawStdEncoding.EncodeToString([]byte(text[:42]))), of+", base64 of base64")
	n.Put([]byte(hex.EncodeToString(key)), of+", hex")
	n.Put([]byte(strings.ToUpper(hex.EncodeToString(key))), of+", HEX")
	for _, form := range []string{"%d ", "%d,", "%d, ", `\x%02x`, "%02x:", "0x%02x, "} {
		var b strings.Builder
		for _, c := range key[:31] {
			fmt.Fprintf(&b, form, c)
		}
		n.Put([]byte(b.String()), of+", as "+form)
	}
}

// Put adds one form.
func (n *Needles) Put(text []byte, what string) {
	if n.by == nil {
		n.by = map[uint64][]needle{}
	}
	n.start[binary.LittleEndian.Uint16(text)] = true
	first := binary.LittleEndian.Uint64(text)
	n.by[first] = append(n.by[first], needle{bytes.Clone(text), what})
	n.longest = max(n.longest, len(text))
}

// In calls found for each needle in text.
func (n *Needles) In(text []byte, found func(what string)) {
	for i := 0; i+8 <= len(text); i++ {
		if !n.start[uint16(text[i])|uint16(text[i+1])<<8] {
			continue
		}
		for _, x := range n.by[binary.LittleEndian.Uint64(text[i:])] {
			if bytes.HasPrefix(text[i:], x.text) {
				found(x.what)
			}
		}
	}
}

// SearchBuffer is the size in bytes of the buffer that files are searched with.
const SearchBuffer = 1 << 20

// stream searches all of r. The end of a buffer is repeated at the beginning of the next
// one, so that nothing is missed; a needle may be found twice.
func (n *Needles) stream(r io.Reader, found func(what string)) (size int64, err error) {
	buffer := make([]byte, SearchBuffer)
	kept := 0
	for {
		got, err := io.ReadFull(r, buffer[kept:])
		size += int64(got)
		n.In(buffer[:kept+got], found)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		kept = copy(buffer, buffer[len(buffer)-n.longest:])
	}
}
