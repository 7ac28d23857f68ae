package ssh

import (
	"io"
	"sync"
)

// A replay is standard input that can be read from its beginning again, until the
// command is known to run. A secret is never in what it remembers: whoever sends
// one hears from the command first.
type replay struct {
	src io.Reader // nil: nothing

	mu      sync.Mutex
	change  *sync.Cond
	read    []byte // what was read of src
	err     error  // and how that ended
	reading bool   // somebody is at it
	current *again // nobody else may read
	sure    bool   // nobody will read again from the beginning
}

func newReplay(src io.Reader) *replay {
	r := &replay{src: src}
	r.change = sync.NewCond(&r.mu)
	return r
}

// again is one reading of a replay.
type again struct {
	r  *replay
	at int
}

// begin begins to read from the beginning; whoever did before is at his end.
func (r *replay) begin() io.Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = &again{r: r}
	r.change.Broadcast()
	return r.current
}

// commit forgets what was read: the command runs.
func (r *replay) commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sure = true
	if r.current != nil {
		r.forget(r.current)
	}
}

// forget drops, and wipes, what a was given.
func (r *replay) forget(a *again) {
	clear(r.read[:a.at])
	r.read, a.at = r.read[a.at:], 0
}

// end lets a reader go that waits. One that is blocked in src stays there.
func (r *replay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = nil
	clear(r.read)
	r.change.Broadcast()
}

func (a *again) Read(p []byte) (int, error) {
	r := a.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.current != a:
			return 0, io.ErrClosedPipe
		case a.at < len(r.read):
			n := copy(p, r.read[a.at:])
			if a.at += n; r.sure {
				r.forget(a)
			}
			return n, nil
		case r.err != nil:
			return 0, r.err
		case r.reading:
			r.change.Wait()
		default:
			r.fill(len(p))
		}
	}
}

// fill reads once. What it read is for whoever reads then.
func (r *replay) fill(most int) {
	r.reading = true
	r.mu.Unlock()
	buf := make([]byte, most)
	n, err := 0, io.EOF
	if r.src != nil {
		n, err = r.src.Read(buf)
	}
	r.mu.Lock()
	if r.current != nil { // else nobody is left
		r.read = append(r.read, buf[:n]...)
	}
	clear(buf)
	r.err, r.reading = err, false
	r.change.Broadcast()
}
