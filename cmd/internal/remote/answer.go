package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// What a login shell's own files say (~/.bashrc of many a host has an echo, or a
// fortune) comes before the answer of wgkeys there, on the same stream. An answer is JSON,
// and its first line begins with a brace.

// afterGreeting is what a host has said from its answer on; all of it where there is none.
func afterGreeting(said []byte) []byte {
	for rest := said; len(rest) > 0; {
		if rest[0] == '{' {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return said
}

// A greeted reader passes over what comes before the first answer. Whether that is too
// much is for the reader below it to tell.
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

// A bounded writer fails when too much is written.
type bounded struct {
	w    io.Writer
	left int
	over context.CancelCauseFunc // ends what writes and passes over errors; nil: nothing does
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
