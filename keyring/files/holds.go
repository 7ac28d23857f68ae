package files

import (
	"io"
	"os"
)

// Holds reports whether a file has exactly this content. It compares piece by piece.
func Holds(path, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	piece := make([]byte, 64<<10)
	for {
		n, err := f.Read(piece)
		if n > len(text) || string(piece[:n]) != text[:n] {
			return false
		}
		text = text[n:]
		if err != nil {
			return err == io.EOF && text == ""
		}
	}
}
