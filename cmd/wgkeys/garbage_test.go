package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGarbage: also after the first collection each verb has what was chosen for it. The
// others change then, which rekey must not.
func TestGarbage(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() {
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	for verb, want := range map[string]struct {
		percent int
		limit   int64
	}{"rekey": {400, manyBytesOfRekey}, "check": {60, math.MaxInt64}, "apply": {60, math.MaxInt64}} {
		collectGarbage(verb)
		for range 20 { // what the first collection changes runs beside us
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
		percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
		debug.SetGCPercent(percent)
		if percent != want.percent || limit != want.limit {
			t.Errorf("%s: %d %%, %d bytes; want %d %%, %d", verb, percent, limit, want.percent, want.limit)
		}
	}
}
