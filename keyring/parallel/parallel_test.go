package parallel

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestRanges: the ranges are the list, in order, none of them shorter than what pays.
func TestRanges(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, c := range []struct{ n, least, want int }{
		{0, 10, 1}, {1, 10, 1}, {19, 10, 1}, {20, 10, 2}, {29, 10, 2}, {30, 10, 3}, {1000, 10, 4}, {1001, 10, 4}, {3, 0, 3},
	} {
		ranges := Ranges(c.n, c.least)
		if len(ranges) != c.want {
			t.Errorf("%d things of at least %d are %d ranges, want %d", c.n, c.least, len(ranges), c.want)
		}
		at := 0
		for _, r := range ranges {
			if r.From != at || r.To < r.From || len(ranges) > 1 && r.To-r.From < c.least {
				t.Errorf("%d things of at least %d: %v", c.n, c.least, ranges)
			}
			at = r.To
		}
		if at != c.n {
			t.Errorf("%d things of at least %d: the ranges end at %d", c.n, c.least, at)
		}
	}
}

// TestEach: each call is made once, and has ended when the function returns.
func TestEach(t *testing.T) {
	for name, f := range map[string]func(int, func(int)){"Each": Each, "Queue": Queue} {
		for _, n := range []int{0, 1, 2, 9, 500} {
			calls := make([]atomic.Int32, n)
			f(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if got := calls[i].Load(); got != 1 {
					t.Errorf("%s of %d: %d was called %d times", name, n, i, got)
				}
			}
		}
	}
}

// TestDo: functions that have much to do run at the same time, so that each can wait for
// another, and others in their order.
func TestDo(t *testing.T) {
	a, b := make(chan bool), make(chan bool)
	Do(true, func() { a <- true; <-b }, func() { <-a; b <- true })
	order := ""
	Do(false, func() { order += "a" }, func() { order += "b" })
	if order != "ab" {
		t.Error(order)
	}
}
