package labtest

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// ReadQR returns what zbar, which shares no code with us, reads from a picture.
func ReadQR(t *testing.T, picture []byte) string {
	t.Helper()
	// binary: otherwise zbar takes what is not ASCII for Shift JIS
	cmd := exec.Command("zbarimg", "--raw", "--quiet", "--oneshot", "-Sdisable", "-Sqrcode.enable", "-Sbinary", "-")
	cmd.Stdin = bytes.NewReader(picture)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A Shot is a picture of a terminal: of half blocks, and the colours that no theme changes.
type Shot struct {
	PNG            []byte
	Columns, Lines int // of the text
}

// ScreenShot draws text on a terminal with this background, with cells twice as high as
// wide.
func ScreenShot(t *testing.T, text string, background color.Gray) Shot {
	t.Helper()
	colours := map[string]color.Gray{"5;16": {0}, "5;231": {255}}
	const pixels, margin = 4, 5
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	shot := Shot{Lines: len(lines)}
	p := image.NewGray(image.Rect(0, 0, 200*pixels, (len(lines)+margin)*2*pixels))
	fill := func(x, row int, shade color.Gray) {
		r := image.Rect(x, row, x+1, row+1).Add(image.Pt(margin, margin))
		r = image.Rectangle{Min: r.Min.Mul(pixels), Max: r.Max.Mul(pixels)}
		draw.Draw(p, r, image.NewUniform(shade), image.Point{}, draw.Src)
	}
	draw.Draw(p, p.Bounds(), image.NewUniform(background), image.Point{}, draw.Src)
	for y, rest := range lines {
		behind, before := background, background
		for x := 0; rest != ""; {
			if set, ok := strings.CutPrefix(rest, "\x1b["); ok {
				set, rest, _ = strings.Cut(set, "m")
				if set == "0" {
					behind, before = background, background
				} else if shade, ok := colours[strings.TrimPrefix(set, "48;")]; ok {
					behind = shade
				} else if shade, ok := colours[strings.TrimPrefix(set, "38;")]; ok {
					before = shade
				} else {
					t.Fatalf("line %d: a colour that themes may change: %q", y+1, set)
				}
				continue
			}
			c, size := utf8.DecodeRuneInString(rest)
			rest = rest[size:]
			lower, known := map[rune]color.Gray{' ': behind, '▄': before}[c]
			if !known {
				t.Fatalf("line %d: %q is neither blank nor a half block", y+1, c)
			}
			fill(x, 2*y, behind)
			fill(x, 2*y+1, lower)
			x++
			shot.Columns = max(shot.Columns, x)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	shot.PNG = b.Bytes()
	return shot
}
