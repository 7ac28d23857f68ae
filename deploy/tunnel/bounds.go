package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"wgkeys/keyring/fault"
)

// A repository's text is of many hands. What of it is read, and what is made of what
// was read, is bounded: a file that git keeps in three megabytes may be three
// gigabytes long, and two bytes of TOML are enough for a table in a table.
const (
	maxTunnel = 16 << 20 // bytes in the files of a tunnel; one of ten thousand hosts has a twelfth
	maxValues = 1 << 20  // tables, keys and values in a file
	maxParts  = 16       // of a key with dots: hosts.shale.sysctls and a sysctl have ten
	maxKey    = 255      // bytes in a part of a key
	maxErrors = 100      // errors of a tunnel
)

// readFile reads a file of a tunnel, of no more than left bytes.
func readFile(fsys fs.FS, name string, left int) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fault.Errno(err)
	}
	if !info.Mode().IsRegular() { // a FIFO would make us wait for its writer (fifo(7))
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
		return nil, fmt.Errorf("the files of a tunnel are larger than %d MiB", maxTunnel>>20)
	}
	return text.Bytes(), nil
}

// tooMuch returns where in a file more begins than is read of it, and what that is; -1
// for a file as people write them. It knows of TOML what is a comment and what a
// string: to take a file for one of fewer values than it has, or more, costs nothing
// but the bound, and what is TOML the parser decides.
func tooMuch(text []byte) (offset int, what string) {
	values, parts := 0, 0
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
				return i, fmt.Sprintf("a file has more than %d values", maxValues)
			}
		case '.':
			if parts++; parts >= maxParts {
				return i, fmt.Sprintf("a key has more than %d parts", maxParts)
			}
		}
	}
	return -1, ""
}

// quotedLength is the length of the string that text begins with, quotes included
// (TOML 1.0.0, section "String"). One of a single line ends with it, closed or not.
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

// lineLength is how far the end of text's first line is away.
func lineLength(text []byte) int {
	if n := bytes.IndexByte(text, '\n'); n >= 0 {
		return n
	}
	return len(text)
}
