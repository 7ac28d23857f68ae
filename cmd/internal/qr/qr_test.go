package qr

import (
	"bytes"
	"image/color"
	"strings"
	"testing"
	"unicode/utf8"

	pictures "wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab/labtest"
)

// texts returns texts of many sizes: for the versions of the code that configurations need,
// and for the first and the last version.
func texts() (all []string) {
	const line = "AllowedIPs = 10.77.0.0/24, 2001:db8:7767::/48 # Zürich, 東京\n"
	long := strings.Repeat(line, Most/len(line)+1)
	for _, n := range []int{1, 230, 367, 520, 1091, Most} {
		for !utf8.RuneStart(long[n]) {
			n--
		}
		all = append(all, long[:n])
	}
	return all
}

func TestPNG(t *testing.T) {
	labtest.Programs(t, "zbarimg")
	for _, text := range texts() {
		var b bytes.Buffer
		if err := Encode([]byte(text)).PNG(&b); err != nil {
			t.Fatal(err)
		}
		if got := pictures.ReadQR(t, b.Bytes()); got != text {
			t.Errorf("%d bytes: got %d others", len(text), len(got))
		}
	}
}

// TestBlocks: a terminal shows the same code, whatever its background.
func TestBlocks(t *testing.T) {
	labtest.Programs(t, "zbarimg")
	for _, text := range texts() {
		c := Encode([]byte(text))
		for _, background := range []color.Gray{{0}, {255}} {
			shot := pictures.ScreenShot(t, string(c.Blocks()), background)
			if shot.Columns != c.Columns || shot.Lines != c.Lines {
				t.Errorf("%d columns and %d lines, want %d and %d", shot.Columns, shot.Lines, c.Columns, c.Lines)
			}
			if got := pictures.ReadQR(t, shot.PNG); got != text {
				t.Errorf("%d bytes on %v: got %d others", len(text), background, len(got))
			}
		}
	}
}

func TestTooLong(t *testing.T) {
	if Encode(make([]byte, Most)) == nil || Encode(make([]byte, Most+1)) != nil {
		t.Error("the largest code has another size")
	}
}
