package graph

import (
	"cmp"
	"math"
	"slices"
)

// A curve is an arrow as it is drawn: a quadratic Bézier curve with the control point pull.
type curve struct {
	arrow
	start, pull, end point
}

// A port is one end of an arrow at a block.
type port struct {
	arrow int
	start bool
	other point // the middle of the block at the other end
}

// curves returns the arrows. Their ends are spread along each side of a block, in the order
// of the blocks that they lead to.
func (l *layout) curves() []curve {
	curves := make([]curve, len(l.arrows))
	type edge struct {
		block int
		side  side
	}
	ports := map[edge][]port{}
	for i, w := range l.arrows {
		curves[i].arrow = w
		from, to := l.facing(w.from, w.to), l.facing(w.to, w.from)
		ports[edge{w.from, from}] = append(ports[edge{w.from, from}], port{i, true, l.size[w.to].middle()})
		ports[edge{w.to, to}] = append(ports[edge{w.to, to}], port{i, false, l.size[w.from].middle()})
	}
	for e, list := range ports {
		slices.SortFunc(list, func(a, b port) int {
			if e.side.level() {
				return cmp.Or(cmp.Compare(a.other.x, b.other.x), cmp.Compare(a.arrow, b.arrow))
			}
			return cmp.Or(cmp.Compare(a.other.y, b.other.y), cmp.Compare(a.arrow, b.arrow))
		})
		for k, p := range list {
			at := l.size[e.block].at(e.side, float64(k+1)/float64(len(list)+1))
			if p.start {
				curves[p.arrow].start = at
			} else {
				curves[p.arrow].end = at
			}
		}
	}
	for i := range curves {
		curves[i].pull = l.pull(&curves[i])
	}
	return curves
}

// at returns the point on a side that lies at the fraction part of its length, from the
// left or from the top.
func (r rect) at(s side, part float64) point {
	switch s {
	case top:
		return point{r.x + part*r.w, r.y}
	case bottom:
		return point{r.x + part*r.w, r.y + r.h}
	case left:
		return point{r.x, r.y + part*r.h}
	}
	return point{r.x + r.w, r.y + part*r.h}
}

// facing returns the side of block a on which arrows to block b leave it.
func (l *layout) facing(a, b int) side {
	if s, ok := l.at[a]; ok {
		return s.opposite() // the side that faces the middle
	}
	if s, ok := l.at[b]; ok {
		return s
	}
	switch i, j := slices.Index(l.core, a), slices.Index(l.core, b); j - i {
	case 1:
		return bottom
	case -1:
		return top
	}
	return right // around the block between them
}

// pull returns the control point of an arrow. It bends an arrow within the ring, or past a
// block of the core, around what lies between its ends.
func (l *layout) pull(c *curve) point {
	mid := point{(c.start.x + c.end.x) / 2, (c.start.y + c.end.y) / 2}
	a, inRing := l.at[c.from]
	b, bothInRing := l.at[c.to]
	switch {
	case inRing != bothInRing, !inRing && l.facing(c.from, c.to) != right:
		return mid
	case inRing && a != b:
		const inwards = 0.25
		return point{mid.x + inwards*(l.middle.x-mid.x), mid.y + inwards*(l.middle.y-mid.y)}
	}
	depth := 30 + 0.45*math.Hypot(c.start.x-c.end.x, c.start.y-c.end.y)
	depth = min(depth, 1.5*passage) // the curve itself bends by half of it
	switch {
	case !inRing, a == left:
		mid.x += depth
	case a == right:
		mid.x -= depth
	case a == top:
		mid.y += depth
	case a == bottom:
		mid.y -= depth
	}
	return mid
}
