package ui

import (
	"io"
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// columnsOf is the width of the terminal that w is; 0: it is none.
func columnsOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// prefix begins each line about the work, and indent one that continues the one before it.
const (
	prefix = "wgkeys: "
	indent = "        "
)

// wrapped breaks a line of prose, which gets the prefix, at its blanks, so that no word is broken
// at the edge of a terminal of some columns. A word that does not fit stays whole: it may be a
// path, or a key; talk indents the rest. A terminal that is too narrow for that, or none (0), gets the line as it is.
func wrapped(line string, columns int) string {
	room := columns - len(prefix)
	if columns < 40 || uniseg.StringWidth(line) <= room {
		return line
	}
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(line, " ") {
		width := uniseg.StringWidth(word)
		switch {
		case i == 0:
		case at+1+width > room:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += width
	}
	return b.String()
}
