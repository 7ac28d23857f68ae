package check

import "sync"

// A Progress returns what hears how far some work is, -1 of all where it is not known how
// much there is, and the end of it, as that of package ui does. Step may be nil.
type Progress func(what string) (step func(done, all int), end func())

// begin is for one piece of the work, whose steps may come from several goroutines.
func (p Progress) begin(what string, all int) (next, end func()) {
	if p == nil {
		return func() {}, func() {}
	}
	step, end := p(what)
	if step == nil {
		return func() {}, end
	}
	var mu sync.Mutex
	done := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		step(done, all)
	}, end
}
