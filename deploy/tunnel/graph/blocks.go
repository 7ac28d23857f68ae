package graph

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// maxArrows is the number of arrows from which on alike hosts get a frame. The spokes of
// one hub are easy to follow, and fifty of them fit.
const maxArrows = 60

// A block is a host, or a frame around hosts that are alike.
type block struct {
	hosts []int // sorted
	// every two of its hosts are peers that can reach each other; otherwise none are peers
	mesh bool
}

// framed reports whether b has a frame.
func (b *block) framed() bool { return len(b.hosts) > 1 }

// heading returns the title of a frame.
func (b *block) heading() string {
	if b.mesh {
		return fmt.Sprintf("%d hosts, every two of them both ways", len(b.hosts))
	}
	return fmt.Sprintf("%d hosts, each as the arrows say", len(b.hosts))
}

// An arrow leads from one block to another. It stands for a link or, if a block has a
// frame, for a link with each host in it.
type arrow struct {
	from, to int  // blocks
	both     bool // it leads both ways
	blind    bool // it leads neither way, because no endpoint is known
	state    shake
}

// blocks returns the blocks and arrows to draw. Blocks are in the order of their first
// hosts.
func (g *Graph) blocks() ([]block, []arrow) {
	blocks := make([]block, len(g.Hosts))
	of := make([]int, len(g.Hosts)) // the block of each host
	for i := range blocks {
		blocks[i], of[i] = block{hosts: []int{i}}, i
	}
	alike := g.alike()
	arrows := g.arrows(of)
	framed := false
	for _, frame := range alike {
		// once there is a frame, one around a mesh in the middle leaves a single arrow
		tangle := len(arrows) > maxArrows || framed && frame.mesh && len(frame.hosts) > maxCore
		if !tangle {
			continue
		}
		framed = true
		blocks[frame.hosts[0]] = frame
		for _, i := range frame.hosts[1:] {
			blocks[i].hosts, of[i] = nil, frame.hosts[0]
		}
		arrows = g.arrows(of)
	}
	place, kept := make([]int, len(blocks)), blocks[:0]
	for i, b := range blocks {
		place[i] = len(kept)
		if b.hosts != nil {
			kept = append(kept, b)
		}
	}
	for i := range arrows {
		arrows[i].from, arrows[i].to = place[arrows[i].from], place[arrows[i].to]
	}
	return kept, arrows
}

// alike returns sets of hosts that differ only in their names: all have the same peers,
// which they reach in the same ways, and either all or none are peers of each other. Those
// that save the most arrows come first.
func (g *Graph) alike() []block {
	open, closed := g.signatures()
	var sets []block
	saves := map[int]int{} // by first host
	add := func(signatures []string, mesh bool) {
		byText := map[string][]int{}
		for i, s := range signatures {
			byText[s] = append(byText[s], i)
		}
		for s, hosts := range byText {
			if len(hosts) < 2 {
				continue
			}
			n, peers := len(hosts), len(s)/signatureSize
			save := (n - 1) * peers
			if mesh {
				save = (n-1)*(peers-n) + n*(n-1)/2
			}
			if save > 0 {
				sets, saves[hosts[0]] = append(sets, block{hosts, mesh}), save
			}
		}
	}
	add(open, false)
	add(closed, true)
	slices.SortFunc(sets, func(a, b block) int {
		return cmp.Or(cmp.Compare(saves[b.hosts[0]], saves[a.hosts[0]]), cmp.Compare(a.hosts[0], b.hosts[0]))
	})
	return sets
}

// signatureSize is the number of bytes for a peer in a signature.
const signatureSize = 5 // bytes a peer

// signatures returns a text for each host that says who its peers are, and in which
// direction they can start. Two hosts of a hub have equal open signatures. In a closed
// signature a host is its own peer, so two hosts of a mesh have equal ones.
func (g *Graph) signatures() (open, closed []string) {
	const comes, goes = 1, 2
	type end struct{ peer, how int }
	ends := make([][]end, len(g.Hosts))
	for _, l := range g.Links {
		how, back := 0, 0
		if l.ToB.Can {
			how, back = how|goes, back|comes
		}
		if l.ToA.Can {
			how, back = how|comes, back|goes
		}
		ends[l.A] = append(ends[l.A], end{l.B, how})
		ends[l.B] = append(ends[l.B], end{l.A, back})
	}
	spell := func(list []end) string {
		slices.SortFunc(list, func(a, b end) int { return cmp.Compare(a.peer, b.peer) })
		var text []byte
		for _, e := range list {
			text = append(binary.BigEndian.AppendUint32(text, uint32(e.peer)), byte(e.how))
		}
		return string(text)
	}
	for i, list := range ends {
		open = append(open, spell(list))
		closed = append(closed, spell(append(list, end{i, comes | goes})))
	}
	return open, closed
}

// arrows returns the arrows between blocks; of has the block of each host.
func (g *Graph) arrows(of []int) (arrows []arrow) {
	seen := map[[2]int]int{}
	for _, l := range g.Links {
		a, b := of[l.A], of[l.B]
		if a == b {
			continue
		}
		w := arrow{from: a, to: b, both: l.ToA.Can && l.ToB.Can, blind: !l.ToA.Can && !l.ToB.Can}
		if l.ToA.Can && !l.ToB.Can {
			w.from, w.to = b, a
		}
		w.state, _ = g.handshake(l.A, l.B)
		pair := [2]int{min(a, b), max(a, b)}
		if i, ok := seen[pair]; ok {
			if arrows[i].state != w.state {
				arrows[i].state = notAsked // it differs; the boxes have the details
			}
			continue
		}
		seen[pair] = len(arrows)
		arrows = append(arrows, w)
	}
	return arrows
}
