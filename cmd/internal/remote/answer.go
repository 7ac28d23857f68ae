package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

// Output of a login shell's own files (many a ~/.bashrc has an echo, or a fortune) comes
// before the answer of wgkeys, on the same stream, and need not end with a newline: the
// escape sequence that sets a window's title does not. So the command that runs wgkeys first
// says a line of its own. An answer is JSON, and its first line begins with a brace.

// begins is that line, or its end.
const begins = "wgkeys begins"

// An ownWords writer passes on what follows that line; all of it if it does not come.
type ownWords struct {
	w     io.Writer
	begun bool
	held  []byte
}

func (o *ownWords) Write(p []byte) (int, error) {
	if o.begun {
		return o.w.Write(p)
	}
	o.held = append(o.held, p...)
	before, after, found := bytes.Cut(o.held, []byte(begins+"\n"))
	switch {
	case found:
		o.held = after
	case len(before) < longest:
		return len(p), nil
	}
	return len(p), o.flush()
}

// flush passes on what was held back.
func (o *ownWords) flush() (err error) {
	if len(o.held) > 0 {
		_, err = o.w.Write(o.held)
	}
	o.begun, o.held = true, nil
	return err
}

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
