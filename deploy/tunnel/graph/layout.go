package graph

import (
	"math"
	"slices"
)

// Positions and sizes are in pixels, x to the right and y down.

type point struct{ x, y float64 }

type rect struct{ x, y, w, h float64 }

func (r rect) middle() point { return point{r.x + r.w/2, r.y + r.h/2} }

func (r rect) union(o rect) rect {
	x, y := min(r.x, o.x), min(r.y, o.y)
	return rect{x, y, max(r.x+r.w, o.x+o.w) - x, max(r.y+r.h, o.y+o.h) - y}
}

func (r rect) grown(by float64) rect { return rect{r.x - by, r.y - by, r.w + 2*by, r.h + 2*by} }

// A side is a side of a rectangle. They are in clockwise order.
type side int

const (
	top side = iota
	right
	bottom
	left
)

func (s side) opposite() side { return (s + 2) % 4 }

// level reports whether s is horizontal.
func (s side) level() bool { return s == top || s == bottom }

// A layout has the positions of the blocks. Blocks to which others can start are the core,
// if there are at most maxCore of them. The others form a ring around it, and arrows run
// between core and ring, where nothing else is. Without a core, arrows run within the ring.
type layout struct {
	size   []rect // of the blocks; newLayout sets x and y
	arrows []arrow
	core   []int
	ring   []int
	at     map[int]side // the side of the ring that a block is on
	middle point        // of the ring
}

const (
	gap     = 26.0  // between blocks
	passage = 120.0 // between the core and the ring
	pitch   = 11.0  // between the ends of arrows at a block
	maxCore = 3
)

// newLayout places the blocks, whose widths and heights are sizes.
func newLayout(sizes []rect, arrows []arrow) *layout {
	l := &layout{size: sizes, arrows: arrows, at: map[int]side{}}
	entered := make([]bool, len(sizes))
	for _, w := range arrows {
		entered[w.to] = true
		if w.both {
			entered[w.from] = true
		}
	}
	for i := range sizes {
		if entered[i] {
			l.core = append(l.core, i)
		} else {
			l.ring = append(l.ring, i)
		}
	}
	if len(l.core) > maxCore || len(l.ring) == 0 {
		l.core, l.ring = nil, l.walk()
	}
	l.makeRoom()
	inner := l.placeCore()
	l.placeRing(inner)
	return l
}

// walk orders all blocks so that peers tend to be neighbours in the ring.
func (l *layout) walk() (order []int) {
	peers := make([][]int, len(l.size))
	for _, w := range l.arrows {
		peers[w.from] = append(peers[w.from], w.to)
		peers[w.to] = append(peers[w.to], w.from)
	}
	seen := make([]bool, len(l.size))
	for start := range l.size {
		stack := []int{start}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if seen[i] {
				continue
			}
			seen[i] = true
			order = append(order, i)
			slices.Sort(peers[i])
			for _, p := range slices.Backward(peers[i]) {
				stack = append(stack, p)
			}
		}
	}
	return order
}

// makeRoom makes the blocks of the core large enough for the ends of their arrows.
func (l *layout) makeRoom() {
	wide := 0.0
	for _, i := range l.core {
		n := 0
		for _, w := range l.arrows {
			if w.from == i || w.to == i {
				n++
			}
		}
		if len(l.core) > 1 {
			l.size[i].h = max(l.size[i].h, pitch*float64(n)/2)
		} else {
			l.size[i].w = max(l.size[i].w, pitch*float64(n)/4)
			l.size[i].h = max(l.size[i].h, pitch*float64(n)/4)
		}
		wide = max(wide, l.size[i].w)
	}
	for _, i := range l.core {
		l.size[i].w = wide
	}
}

// placeCore puts the core into a column, and returns its bounds including the passage
// around it.
func (l *layout) placeCore() rect {
	if len(l.core) == 0 {
		return rect{}
	}
	y := 0.0
	bounds := l.size[l.core[0]]
	for _, i := range l.core {
		l.size[i].x, l.size[i].y = 0, y
		y += l.size[i].h + passage*0.7
		bounds = bounds.union(l.size[i])
	}
	return bounds.grown(passage)
}

// placeRing puts the ring around the inner rectangle, clockwise from its top left.
func (l *layout) placeRing(inner rect) {
	if len(l.ring) == 0 {
		return
	}
	sides := l.share(inner)
	for s, blocks := range sides {
		long := l.extent(side(s), blocks)
		if side(s).level() {
			inner = widened(inner, long, 0)
		} else {
			inner = widened(inner, 0, long)
		}
	}
	if len(l.core) == 0 { // room for curved arrows
		inner = widened(inner, 2*passage, 1.4*passage)
	}
	l.middle = inner.middle()
	for s, blocks := range sides {
		l.placeSide(side(s), blocks, inner)
	}
}

// widened returns r with at least width w and height h, and the same middle.
func widened(r rect, w, h float64) rect {
	w, h = max(w, r.w), max(h, r.h)
	m := r.middle()
	return rect{m.x - w/2, m.y - h/2, w, h}
}

// extent returns the length of blocks along a side.
func (l *layout) extent(s side, blocks []int) (long float64) {
	for _, i := range blocks {
		if s.level() {
			long += l.size[i].w + gap
		} else {
			long += l.size[i].h + gap
		}
	}
	return long
}

// share distributes the ring over the four sides, so that the whole is neither flat nor
// narrow. Around a column all blocks are on the left and right, because arrows to others
// would pass behind it.
func (l *layout) share(inner rect) [4][]int {
	var cell rect
	for _, i := range l.ring {
		cell.w, cell.h = max(cell.w, l.size[i].w+gap), max(cell.h, l.size[i].h+gap)
	}
	n := len(l.ring)
	rows := (n + 1) / 2 // at the right and at the left
	if len(l.core) < 2 && n > 2 {
		best := math.Inf(1)
		for r := range (n + 1) / 2 {
			columns := float64((n - 2*r + 1) / 2)
			w := max(columns*cell.w, inner.w) + 2*cell.w
			h := max(float64(r)*cell.h, inner.h) + 2*cell.h
			if long := max(w, h*1.5); long < best {
				best, rows = long, r
			}
		}
	}
	columns := n - 2*rows
	counts := [4]int{(columns + 1) / 2, rows, columns / 2, rows}
	if columns < 0 {
		counts = [4]int{0, n / 2, 0, n - n/2}
	}
	order := l.around(counts)
	var sides [4][]int
	for s, k := range counts {
		sides[s], order = order[:k], order[k:]
		for _, i := range sides[s] {
			l.at[i] = side(s)
		}
	}
	return sides
}

// around orders the ring around a column so that each block is near the middle of its peers
// there.
func (l *layout) around(counts [4]int) []int {
	if len(l.core) < 2 {
		return l.ring
	}
	height := map[int]float64{}
	for _, i := range l.ring {
		sum, n := 0.0, 0.0
		for _, w := range l.arrows {
			if w.from == i {
				sum, n = sum+l.size[w.to].middle().y, n+1
			}
		}
		height[i] = sum / max(n, 1)
	}
	order := slices.Clone(l.ring)
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case height[a] < height[b]:
			return -1
		case height[a] > height[b]:
			return 1
		}
		return 0
	})
	var rightOnes, leftOnes []int // each from the top
	for i, b := range order {
		if i%2 == 1 && len(rightOnes) < counts[right] || len(leftOnes) == counts[left] {
			rightOnes = append(rightOnes, b)
		} else {
			leftOnes = append(leftOnes, b)
		}
	}
	slices.Reverse(leftOnes)
	return append(rightOnes, leftOnes...)
}

// placeSide places blocks along a side of the inner rectangle, clockwise and evenly spaced.
func (l *layout) placeSide(s side, blocks []int, inner rect) {
	long := l.extent(s, blocks)
	whole := inner.w
	if !s.level() {
		whole = inner.h
	}
	room := (whole - long) / float64(len(blocks)+1)
	along := room
	for _, i := range blocks {
		r := &l.size[i]
		d := along + gap/2
		switch s {
		case top:
			r.x, r.y = inner.x+d, inner.y-r.h
			along += r.w
		case right:
			r.x, r.y = inner.x+inner.w, inner.y+d
			along += r.h
		case bottom:
			r.x, r.y = inner.x+inner.w-d-r.w, inner.y+inner.h
			along += r.w
		case left:
			r.x, r.y = inner.x-r.w, inner.y+inner.h-d-r.h
			along += r.h
		}
		along += gap + room
	}
}
