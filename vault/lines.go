package vault

import (
	"bufio"
	"bytes"
)

// linesOf scans the lines of a text, which may be as long as that.
func linesOf(text []byte) *bufio.Scanner {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+2)
	return lines
}
