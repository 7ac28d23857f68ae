package pace

import (
	"testing"
	"time"
)

// Held packets are released in portions that the queues behind can take: few packets and
// few bytes a millisecond, or a bit more than came if more came, and faster with time.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name     string
		n, bytes int // packets, and bytes of each
		in       time.Duration
		portion  int
		all      int // milliseconds
	}{
		{"few", 3, 200, 50 * time.Millisecond, 3, 1},
		{"a thousand a second", 100, 200, 100 * time.Millisecond, 16, 7},
		{"large ones", 100, 6000, 200 * time.Millisecond, 4, 23},
		{"larger than a portion", 3, 60_000, time.Second, 1, 3},
		{"many", 10_000, 200, 100 * time.Millisecond, 151, 54},
		{"many bytes, cut into packets later", 100, 12_800, 25 * time.Millisecond, 6, 16},
		{"at once", 50, 200, 0, 50, 1},
	} {
		p, first, steps := New(c.n, c.n*c.bytes, c.in), 0, 0
		for gone := 0; gone < c.n; steps++ {
			before := gone
			for p.Elapse(time.Millisecond); gone < c.n && p.Allow(c.bytes); gone++ {
			}
			if gone == before {
				t.Fatalf("%s: no packet goes after %d", c.name, gone)
			}
			if steps == 0 {
				first = gone
			}
		}
		if first != c.portion || steps != c.all {
			t.Errorf("%s: %d at first, all after %d ms; want %d and %d", c.name, first, steps, c.portion, c.all)
		}
	}
}

// A program that did not run for a second does not release all packets of a second at once,
// and what earlier packets did not use is not added up for later ones.
func TestPaceOfLateOnes(t *testing.T) {
	portion := func(p *Pace) (n int) {
		for p.Allow(200) {
			n++
		}
		return n
	}
	p := New(0, 0, 0)
	p.Elapse(time.Second)
	if n := portion(p); n > 2*longest*leastPackets {
		t.Errorf("%d packets go at once", n)
	}
	for range 50 {
		p.Elapse(time.Millisecond)
		p.Reset()
	}
	p.Elapse(time.Millisecond)
	if n := portion(p); n > 2*leastPackets {
		t.Errorf("%d packets go after a time without any", n)
	}
}
