package ageplugin

import (
	"errors"
	"sync"
	"time"

	"wgkeys/keyring/fault"
)

// ErrInterrupted is the error of what was waited for when the person ended the run.
var ErrInterrupted = fault.Interrupted

// ErrSilent is the error of what was waited for to no end.
var ErrSilent = errors.New("it said nothing for two minutes")

// A wait is for somebody who may never answer. It is given up when the person ends
// the run, or when the patience of the client ends.
type wait struct {
	stop  func()
	limit time.Duration
	timer *time.Timer
	done  chan struct{}
	once  sync.Once

	mu  sync.Mutex
	why error
}

// newWait calls stop once, from another goroutine, if it is given up.
func (c Client) newWait(stop func()) *wait {
	w := &wait{stop: stop, limit: c.Patience, done: make(chan struct{})}
	w.timer = time.AfterFunc(c.Patience, func() { w.giveUp(ErrSilent) })
	ended := c.ended()
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
		w.timer.Reset(w.limit)
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

// Await returns what do returns, or that it was given up. Do goes on then, and
// nobody hears of it.
func Await[T any](c Client, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	over, results := make(chan struct{}), make(chan result, 1)
	w := c.newWait(func() { close(over) })
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
