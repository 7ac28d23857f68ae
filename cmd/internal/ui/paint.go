package ui

import (
	"io"
	"strings"
)

// A Style is how a text looks on a terminal that has colours.
type Style string

// The styles, as ECMA-48 numbers them (8.3.117, SELECT GRAPHIC RENDITION).
const (
	Plain  Style = ""
	Bold   Style = "1"
	Faint  Style = "2"
	Red    Style = "31" // wrong
	Yellow Style = "33" // needs attention
)

// A Span is a part of a line.
type Span struct {
	Text  string
	Style Style
}

// A Line is a line of a result, without its newline.
type Line []Span

func (l Line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.Text)
	}
	return b.String()
}

// onOneLine prevents that a host's text is taken for another line.
var onOneLine = strings.NewReplacer("\n", " ", "\t", " ")

// Paint formats lines: printable, and with colours if these are wanted.
func (u *UI) Paint(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		for _, s := range l {
			text := Printable(onOneLine.Replace(s.Text))
			if u.Colours && s.Style != Plain {
				b.WriteString("\x1b[" + string(s.Style) + "m" + text + "\x1b[m")
			} else {
				b.WriteString(text)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Draw prints lines as a result.
func (u *UI) Draw(lines []Line) {
	_, err := io.WriteString(u.Stdout, u.Paint(lines))
	u.wrote(err)
}
