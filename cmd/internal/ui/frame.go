package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// A Frame is an area of the terminal where each picture replaces the previous one.
type Frame struct {
	ui   *UI
	size Size
	rows int // of the terminal, taken by the last picture
}

// NewFrame returns a frame if standard output is a terminal that can move its cursor.
func (u *UI) NewFrame() (f *Frame, ok bool) {
	_, ok = u.TerminalSize()
	return &Frame{ui: u}, ok && !u.Dumb
}

// Show replaces the last picture, in one write and without clearing first, so that nothing
// flickers. What does not fit is left out at the end.
func (f *Frame) Show(picture []Line) {
	size, _ := f.ui.TerminalSize()
	_, err := io.WriteString(f.ui.Stdout, f.next(picture, size))
	f.ui.wrote(err)
}

// next returns what draws the picture on a terminal of that size.
func (f *Frame) next(picture []Line, size Size) string {
	var b strings.Builder
	switch {
	case f.rows > 0 && size != f.size: // where the last one is now, only the terminal knows
		b.WriteString("\x1b[2J\x1b[H")
	case f.rows > 0:
		fmt.Fprintf(&b, "\r\x1b[%dA", f.rows)
	}
	f.size, f.rows = size, 0
	for _, line := range fit(picture, size) {
		wide := line.width()
		f.rows += rows(wide, size)
		b.WriteString(strings.TrimSuffix(f.ui.Paint([]Line{line}), "\n"))
		if wide == 0 || wide%size.Columns != 0 { // otherwise the cursor is still on the last character
			b.WriteString("\x1b[K")
		}
		b.WriteString("\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// fit returns the part of a picture that fits, with a row left for the cursor.
func fit(picture []Line, size Size) []Line {
	room, all := size.Lines-1, 0
	for _, l := range picture {
		all += rows(l.width(), size)
	}
	if all <= room {
		return picture
	}
	for i, l := range picture {
		if room -= rows(l.width(), size); room < 1 { // the row that says so
			rest := fmt.Sprintf("... %s for which there is no room here", Plural(len(picture)-i, "more line"))
			return append(picture[:i:i], Line{{cut(rest, size.Columns), Faint}})
		}
	}
	return picture
}

func (l Line) width() int { return uniseg.StringWidth(Printable(onOneLine.Replace(l.String()))) }

// rows returns how many rows of a terminal a line takes.
func rows(wide int, size Size) int { return max(1, (wide+size.Columns-1)/size.Columns) }
