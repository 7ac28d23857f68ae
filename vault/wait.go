package vault

import (
	"errors"
	"sync"
	"time"
)

// ErrInterrupted is the error of what was waited for when the person ended the run.
var ErrInterrupted = errors.New("interrupted")

// patience is how long somebody is waited for who says nothing: an age plugin, or who
// writes an identity into a pipe. It is long enough to fetch a hardware key.
var patience = 2 * time.Minute

var errSilent = errors.New("it said nothing for two minutes")

// A wait is for somebody who may never answer. It is given up when the person ends
// the run, or when patience ends.
type wait struct {
	stop  func()
	timer *time.Timer
	done  chan struct{}
	once  sync.Once

	mu  sync.Mutex
	why error
}

// newWait calls stop once, from another goroutine, if it is given up.
func newWait(ended <-chan struct{}, stop func()) *wait {
	w := &wait{stop: stop, done: make(chan struct{})}
	w.timer = time.AfterFunc(patience, func() { w.giveUp(errSilent) })
	go func() {
		select {
		case <-ended: // of nil never
			w.giveUp(ErrInterrupted)
		case <-w.done:
		}
	}()
	return w
}

func (w *wait) giveUp(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.done:
	default:
		w.why = why
		w.once.Do(w.stop)
	}
}

// pause and goOn leave out a time of somebody else's.
func (w *wait) pause() {
	if w != nil {
		w.timer.Stop()
	}
}

func (w *wait) goOn() {
	if w != nil {
		w.timer.Reset(patience)
	}
}

// over ends the wait, and tells why it was given up, if it was.
func (w *wait) over() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	close(w.done)
	return w.why
}

// waited returns what do returns, or that it was given up. Do goes on then, and
// nobody hears of it.
func waited[T any](ended <-chan struct{}, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	over, results := make(chan struct{}), make(chan result, 1)
	w := newWait(ended, func() { close(over) })
	go func() {
		value, err := do()
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		w.over()
		return r.value, r.err
	case <-over:
		var none T
		return none, w.over()
	}
}
