package ui

import (
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// columns is the width of the terminal that standard error is; 0: it is none.
func (u *UI) columns() int {
	f, ok := u.Stderr.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// indent begins a line that continues the one before it.
const indent = "        "

// wrapped breaks a line of prose at its blanks, so that no word is broken at the edge of a
// terminal of some columns. A word that does not fit stays whole: it may be a path, or a key. A
// terminal that is too narrow for that, or none (0), gets the line as it is.
func wrapped(line string, columns int) string {
	if columns < 40 || uniseg.StringWidth(line) <= columns {
		return line
	}
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(line, " ") {
		width := uniseg.StringWidth(word)
		switch {
		case i == 0:
		case at+1+width > columns && at > len(indent):
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += width
	}
	return b.String()
}
