package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// Output of a login shell's own files (many a ~/.bashrc has an echo, or a fortune) comes
// before the answer of wgkeys, on the same stream. An answer is JSON, and its first line
// begins with a brace.

// afterGreeting returns what a host has said from its answer on; all of it if there is no
// answer.
func afterGreeting(said []byte) []byte {
	for rest := said; len(rest) > 0; {
		if rest[0] == '{' {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return said
}

// A greeted reader skips what comes before the first answer. The reader below it bounds the
// length.
type greeted struct {
	r     *bufio.Reader
	begun bool
}

func newGreeted(r io.Reader) *greeted { return &greeted{r: bufio.NewReader(r)} }

func (g *greeted) Read(p []byte) (int, error) {
	for !g.begun {
		next, err := g.r.Peek(1)
		if err != nil {
			return 0, err
		}
		if g.begun = next[0] == '{'; g.begun {
			break
		}
		for err = bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
			_, err = g.r.ReadSlice('\n')
		}
		if err != nil {
			return 0, err
		}
	}
	return g.r.Read(p)
}

var errTooMuch = errors.New("the host says too much")

// A bounded writer fails after too many bytes.
type bounded struct {
	w    io.Writer
	left int
	over context.CancelCauseFunc // ends what writes and ignores errors; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		if b.over != nil {
			b.over(errTooMuch)
		}
		return 0, errTooMuch
	}
	return b.w.Write(p)
}
