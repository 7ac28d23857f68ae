package ageplugin

import (
	"errors"
	"sync"
	"time"

	"wgkeys/keyring/fault"
)

// ErrInterrupted is the error of a wait if the user has ended the run.
var ErrInterrupted = fault.Interrupted

// ErrSilent is the error of a wait that took too long.
var ErrSilent = errors.New("it said nothing for two minutes")

// A wait is for somebody who may never answer. It is given up when the user ends the run,
// or when the client's patience is over.
type wait struct {
	stop  func()
	limit time.Duration
	timer *time.Timer
	done  chan struct{}
	once  sync.Once

	mu  sync.Mutex
	why error
}

// newWait begins a wait. If it is given up, stop is called once, from another goroutine.
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

// pause and goOn exclude a period from the time that the wait has taken.
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

// over ends the wait, and returns why it was given up, or nil.
func (w *wait) over() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	close(w.done)
	return w.why
}

// Await returns the result of do, or the error if the wait was given up. In that case do
// goes on, and its result is ignored.
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
