package ssh

import (
	"io"
	"sync"
)

// A replay is standard input that can be read from its beginning again, for another
// attempt, until the command is known to run. What it keeps never contains a secret, since
// secrets are sent only after the command has answered.
type replay struct {
	src io.Reader // nil: nothing

	mu      sync.Mutex
	change  *sync.Cond
	read    []byte // what was read from src
	err     error  // of the last read from src
	reading bool   // a read from src is under way
	current *again // the only one that may read
	sure    bool   // the command runs: there will be no other attempt
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

// begin returns a reader from the beginning. Earlier readers return io.ErrClosedPipe from
// now on.
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

// forget wipes and drops what a has read.
func (r *replay) forget(a *again) {
	clear(r.read[:a.at])
	r.read, a.at = r.read[a.at:], 0
}

// end ends a reader that waits for another one. One that is blocked in src stays blocked.
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

// fill reads from src once, without the lock. What it has read is for the current reader.
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
