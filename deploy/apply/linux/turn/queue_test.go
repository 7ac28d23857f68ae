package turn

import (
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

// What was held is let go in portions that the queues behind it bear: few packets
// a millisecond, few bytes, and somewhat more than came where more came; and faster
// with time.
func TestPace(t *testing.T) {
	of := func(n, bytes int) *queue {
		q := new(queue)
		for i := range n {
			q.held = append(q.held, (i+1)*bytes)
		}
		return q
	}
	for _, c := range []struct {
		name    string
		q       *queue
		in      time.Duration
		portion int
		all     int // milliseconds
	}{
		{"nothing", of(0, 0), time.Second, 0, 0},
		{"few", of(3, 200), 50 * time.Millisecond, 3, 1},
		{"a thousand a second", of(100, 200), 100 * time.Millisecond, 16, 7},
		{"large ones", of(100, 6000), 200 * time.Millisecond, 4, 23},
		{"larger than a portion", of(3, 60_000), time.Second, 1, 3},
		{"many", of(10_000, 200), 100 * time.Millisecond, 151, 54},
		{"many bytes, cut into packets later", of(100, 12_800), 25 * time.Millisecond, 6, 16},
		{"at once", of(50, 200), 0, 50, 1},
	} {
		p, id, steps, first := c.q.pace(c.in), 0, 0, 0
		for ; id < len(c.q.held); steps++ {
			next := p.next(id, c.q.held, time.Millisecond)
			if next <= id {
				t.Fatalf("%s: no packet goes after %d", c.name, id)
			}
			if id = next; steps == 0 {
				first = id
			}
		}
		if first != c.portion || steps != c.all {
			t.Errorf("%s: %d at first, all after %d ms; want %d and %d", c.name, first, steps, c.portion, c.all)
		}
	}
}

// The kernel tells the length of a packet of which it hands over less.
func TestLength(t *testing.T) {
	header := make([]byte, 4)
	whole, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: make([]byte, 7)}})
	if err != nil {
		t.Fatal(err)
	}
	cut, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 10, Data: []byte{0x60}}, {Type: nfqaCapLen, Data: []byte{0, 0, 0x32, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	for want, message := range map[int][]byte{1: slices.Concat(header, whole), 12_800: slices.Concat(header, cut)} {
		if got := length(message); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
	for _, message := range [][]byte{nil, {1}, header, append(header, 9, 9, 9)} {
		if got := length(message); got != 1 {
			t.Errorf("%d bytes of rubbish", got)
		}
	}
}
