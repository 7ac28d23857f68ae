// Package qr encodes a text as a QR code (ISO/IEC 18004): for a terminal, and as a PNG.
//
// The encoder is [barcode]'s. Its errors are not returned, since some repeat the text.
package qr

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

// Most is the number of bytes that fit into the largest code.
const Most = 2953

// quiet is the width of the light margin that a code needs, in modules.
const quiet = 4

// A Code is a QR code with its light margin.
type Code struct {
	text           barcode.Barcode
	Columns, Lines int // the size on a terminal, in cells
}

// Encode returns the smallest code for a text, at the lowest level of error correction,
// which repairs 7 % of damage: a screen and a fresh print have none, and a higher level
// would not fit on a terminal. It returns nil if the text is longer than Most.
func Encode(text []byte) *Code {
	c, err := qr.Encode(string(text), qr.L, qr.Unicode)
	if err != nil {
		return nil
	}
	modules := c.Bounds().Dx() + 2*quiet
	return &Code{c, modules, (modules + 1) / 2}
}

// dark reports whether a module is dark, counted with the margin.
func (c *Code) dark(x, y int) bool {
	p := image.Pt(x-quiet, y-quiet)
	if !p.In(c.text.Bounds()) {
		return false
	}
	gray := color.GrayModel.Convert(c.text.At(p.X, p.Y)).(color.Gray)
	return gray.Y < 128
}

// Colours of a terminal that no theme changes, from xterm's cube of 256.
const (
	darkOn, lightOn       = "\x1b[48;5;16m", "\x1b[48;5;231m" // background
	darkFront, lightFront = "\x1b[38;5;16m", "\x1b[38;5;231m" // of the half block
)

// Blocks draws c for a terminal, two modules in a cell. It sets both colours of each cell,
// so it can be read on a dark and on a light background.
func (c *Code) Blocks() []byte {
	var b bytes.Buffer
	for y := 0; y < c.Columns; y += 2 {
		set := ""
		for x := range c.Columns {
			upper, lower := c.dark(x, y), c.dark(x, y+1)
			cell, colours := " ", lightOn
			if upper {
				colours = darkOn
			}
			switch {
			case lower && !upper:
				cell, colours = "▄", colours+darkFront
			case upper && !lower:
				cell, colours = "▄", colours+lightFront
			}
			if colours != set {
				b.WriteString(colours)
				set = colours
			}
			b.WriteString(cell)
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.Bytes()
}

// PNG returns c as a picture.
func (c *Code) PNG(w io.Writer) error {
	const scale = 8 // pixels per module
	n := c.Columns * scale
	p := image.NewPaletted(image.Rect(0, 0, n, n), color.Palette{color.White, color.Black})
	for y := range n {
		for x := range n {
			if c.dark(x/scale, y/scale) {
				p.SetColorIndex(x, y, 1)
			}
		}
	}
	return png.Encode(w, p)
}
