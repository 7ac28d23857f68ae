package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"wgkeys/keyring/fault"
)

// Many people may write to a repository. What is read of it, and what is made from that, is
// bounded: three megabytes in git may be a file of three gigabytes, and two bytes of TOML
// are enough for a table in a table.
const (
	maxTunnel = 16 << 20 // bytes in the files of a tunnel; a tunnel of ten thousand hosts needs a twelfth of it
	maxValues = 1 << 20  // tables, keys and values in a file
	maxParts  = 16       // parts of a dotted key; hosts.shale.sysctls and a sysctl have ten
	maxKey    = 255      // bytes in a part of a key
	maxErrors = 100      // errors of a tunnel
)

var errTooLarge = fmt.Errorf("the files of a tunnel are larger than %d MiB", maxTunnel>>20)

// readFile reads a file of a tunnel, of at most left bytes.
func readFile(fsys fs.FS, name string, left int) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fault.Errno(err)
	}
	if !info.Mode().IsRegular() { // to open a FIFO would wait for its writer (fifo(7))
		return nil, errors.New("it is not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fault.Errno(err)
	}
	defer f.Close()
	text := bytes.NewBuffer(make([]byte, 0, min(info.Size(), int64(left))+bytes.MinRead))
	if _, err := text.ReadFrom(io.LimitReader(f, int64(left)+1)); err != nil {
		return nil, fault.Errno(err)
	}
	if text.Len() > left {
		return nil, errTooLarge
	}
	return text.Bytes(), nil
}

// tooMuch returns where a file exceeds the bounds, and what it has too much of; -1 for a
// normal file, and then how many values it has. It knows TOML's comments and strings only: to
// count too few values, or too many, matters only for the bound, and the parser decides what is
// TOML.
func tooMuch(text []byte) (offset, values int, what string) {
	parts := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '#':
			i += lineLength(text[i:]) - 1
		case '"', '\'':
			i += quotedLength(text[i:]) - 1
		case ',', '[', '{', '=', '\n':
			parts = 0
			if c == '\n' { // an empty line is none
				continue
			}
			if values++; values > maxValues {
				return i, values, fmt.Sprintf("a file has more than %d values", maxValues)
			}
		case '.':
			if parts++; parts >= maxParts {
				return i, values, fmt.Sprintf("a key has more than %d parts", maxParts)
			}
		}
	}
	return -1, values, ""
}

// quotedLength is the length of the string that text begins with, including its quotes
// (TOML 1.0.0, section "String"). A single-line string ends with the line, closed or not.
func quotedLength(text []byte) int {
	quote := text[0]
	from, many := 1, 1 // quotes
	if len(text) >= 3 && text[1] == quote && text[2] == quote {
		from, many = 3, 3
	}
	for from < len(text) {
		switch {
		case text[from] == '\\' && quote == '"':
			from += 2
		case text[from] == quote && (many == 1 || bytes.HasPrefix(text[from:], text[:many])):
			return from + many
		case text[from] == '\n' && many == 1:
			return from
		default:
			from++
		}
	}
	return len(text)
}

// lineLength is the length of text's first line.
func lineLength(text []byte) int {
	if n := bytes.IndexByte(text, '\n'); n >= 0 {
		return n
	}
	return len(text)
}
