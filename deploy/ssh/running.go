package ssh

import (
	"maps"
	"slices"
	"sync"
)

// running are the processes of this package that run now.
var running struct {
	mu   sync.Mutex
	next int
	end  map[int]func() error // each ends one
	over bool                 // all are to end
}

// note notes a process that has begun, until gone is called.
func note(end func() error) (gone func()) {
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.over {
		end()
	}
	id := running.next
	running.next++
	if running.end == nil {
		running.end = map[int]func() error{}
	}
	running.end[id] = end
	return func() {
		running.mu.Lock()
		defer running.mu.Unlock()
		delete(running.end, id)
	}
}

// EndAll ends the processes that run now, and any that begin after it, for a program that exits
// at once: an ssh that Ctrl-C does not reach would stay behind for as long as its host says
// nothing.
func EndAll() {
	running.mu.Lock()
	defer running.mu.Unlock()
	running.over = true
	for _, id := range slices.Sorted(maps.Keys(running.end)) {
		running.end[id]()
	}
}
