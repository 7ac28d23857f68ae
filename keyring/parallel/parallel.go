// Package parallel divides among the processors what takes one of them a while: lists of
// thousands, of which each part, or each thing, can be worked on by itself.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A Range is a part of a list: from the index From to before To.
type Range struct{ From, To int }

// Ranges divides a list of n into one range for each processor, in order. None has fewer than
// least, for which another goroutine would not pay; so a short list is one range.
func Ranges(n, least int) []Range {
	parts := max(1, min(runtime.GOMAXPROCS(0), n/max(least, 1)))
	ranges := make([]Range, parts)
	for i := range ranges {
		ranges[i] = Range{i * n / parts, (i + 1) * n / parts}
	}
	return ranges
}

// Queue calls do for 0 to n-1, in order, each as soon as a worker is free: there are a few more of
// them than processors, since some wait for the disk. It returns after the last one.
func Queue(n int, do func(i int)) {
	var next atomic.Int64
	Each(min(n, runtime.NumCPU()+2), func(int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	})
}

// Each calls do for 0 to n-1, all at the same time, and returns after the last one.
func Each(n int, do func(i int)) {
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { do(i) })
	}
	if n > 0 {
		do(0)
	}
	others.Wait()
}

// Do calls functions and returns after the last one: all at the same time if they have many
// things to do, or else one after the other, since to wake another processor takes longer.
func Do(many bool, functions ...func()) {
	if many {
		Each(len(functions), func(i int) { functions[i]() })
		return
	}
	for _, f := range functions {
		f()
	}
}
