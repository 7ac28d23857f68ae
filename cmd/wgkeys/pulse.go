package main

import (
	"io"
	"sync"
	"time"
)

// pulseEvery is less than the shortest time for which a controller waits in practice.
const pulseEvery = 5 * time.Second

// A pulse writes a newline now and then for a program that answers in JSON, where white
// space means nothing (RFC 8259, section 2): a switch may take most of half a minute, and
// the controller must be able to tell a working host from a silent one.
type pulse struct {
	mu   sync.Mutex
	w    io.Writer
	done chan struct{}
}

func newPulse(w io.Writer, every time.Duration) *pulse {
	p := &pulse{w: w, done: make(chan struct{})}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-tick.C:
				p.Write([]byte("\n"))
			}
		}
	}()
	return p
}

func (p *pulse) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(b)
}

func (p *pulse) end() { close(p.done) }
