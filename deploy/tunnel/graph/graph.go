// Package graph draws a tunnel: which hosts can start a connection to which, their INSIDE
// and OUTSIDE addresses and, if the hosts were asked, the handshakes. It writes Mermaid,
// DOT and SVG without external programs.
//
// The package is pure: the same tunnel gives the same bytes.
//
// An arrow leads to a host whose endpoint is known, because the first packet can go there.
// If there would be too many arrows to follow, and all pairs between two sets of hosts are
// alike, as with the spokes of several hubs, a frame is drawn around each set and one arrow
// stands for all.
package graph

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"wgkeys/deploy/tunnel"
)

// A Graph is a tunnel with what is known of its handshakes.
type Graph struct {
	*tunnel.Topology

	// Live has, for each host that answered, the age of the last handshake with each peer,
	// or nil if there was none. It is nil if nobody was asked.
	Live    map[string]map[string]*time.Duration
	InWords func(time.Duration) string // prints an age
}

// A shake is what is known about the last handshake of a pair.
type shake int

const (
	notAsked shake = iota
	recent         // at most aliveFor ago
	older
	never
	unknown // neither end has answered
)

// aliveFor is how long after a handshake a session carries packets (REJECT_AFTER_TIME in
// section 6.1 of the WireGuard paper).
const aliveFor = 180 * time.Second

// handshake returns the last handshake of two hosts. The two may know of different ones, as
// after a reboot; the later one counts.
func (g *Graph) handshake(a, b int) (shake, time.Duration) {
	if g.Live == nil {
		return notAsked, 0
	}
	state, last := unknown, time.Duration(0)
	for _, ends := range [][2]string{{g.Hosts[a].Name, g.Hosts[b].Name}, {g.Hosts[b].Name, g.Hosts[a].Name}} {
		age, answered := g.Live[ends[0]][ends[1]]
		switch {
		case !answered:
		case age == nil && state == unknown:
			state = never
		case age != nil && (state == unknown || state == never || *age < last):
			state, last = recent, *age
		}
	}
	if state == recent && last > aliveFor {
		state = older
	}
	return state, last
}

// A row is a line of text about a host. If it has an address, where says whether that is
// INSIDE or OUTSIDE.
type row struct {
	where, text string
	state       shake // of the handshakes that it is about
}

const inside, outside = "INSIDE", "OUTSIDE"

// maxRows is how many INSIDE prefixes are shown of one host.
const maxRows = 5

// A peering is a link as seen from one of its ends.
type peering struct {
	peer int
	to   string // OUTSIDE address that the first packet goes to; "": none, or not known
}

// peerings returns the peerings of each host.
func (g *Graph) peerings() [][]peering {
	all := make([][]peering, len(g.Hosts))
	for _, l := range g.Links {
		all[l.A] = append(all[l.A], peering{l.B, l.ToB.At})
		all[l.B] = append(all[l.B], peering{l.A, l.ToA.At})
	}
	return all
}

// title returns the first line in the box of a host.
func (g *Graph) title(i int) string {
	if g.Hosts[i].Unmanaged {
		return g.Hosts[i].Name + " (unmanaged)"
	}
	return g.Hosts[i].Name
}

// rows returns the lines below the name of a host.
func (g *Graph) rows(i int, peers []peering) (rows []row) {
	h := &g.Hosts[i]
	if h.Description != "" {
		rows = append(rows, row{text: shortened(h.Description)})
	}
	switch {
	case h.Endpoint != "":
		rows = append(rows, row{where: outside, text: h.Endpoint})
	case h.Reachable:
		rows = append(rows, row{where: outside, text: "its peers know where"})
	}
	for _, p := range peers { // an endpoint that only this host uses
		if p.to != "" && p.to != g.Hosts[p.peer].Endpoint {
			rows = append(rows, row{where: outside, text: g.Hosts[p.peer].Name + " at " + p.to})
		}
	}
	var in []row
	for _, a := range h.Addresses {
		in = append(in, row{where: inside, text: a.String()})
	}
	for _, r := range h.Routes {
		in = append(in, row{where: inside, text: "route " + r.String()})
	}
	if more := len(in) - maxRows; more > 1 {
		in = append(in[:maxRows], row{where: inside, text: fmt.Sprintf("and %d more", more)})
	}
	return append(append(rows, in...), g.liveRows(i, peers)...)
}

// liveRows returns lines about a host's handshakes: one for each of a few peers, or a
// summary of many.
func (g *Graph) liveRows(i int, peers []peering) (rows []row) {
	if g.Live == nil || len(peers) == 0 {
		return nil
	}
	if _, answered := g.Live[g.Hosts[i].Name]; !answered && !g.Hosts[i].Unmanaged {
		rows = append(rows, row{text: "gave no answer", state: unknown})
	}
	const few = 3
	names := map[shake][]string{}
	for _, p := range peers {
		state, age := g.handshake(i, p.peer)
		name := g.Hosts[p.peer].Name
		names[state] = append(names[state], name)
		if len(peers) > few {
			continue
		}
		switch state {
		case unknown:
			name += ": not known"
		case never:
			name += ": no handshake yet"
		default:
			name += ": handshake " + g.InWords(age) + " ago"
		}
		rows = append(rows, row{text: name, state: state})
	}
	if len(peers) <= few {
		return rows
	}
	had := len(names[recent]) + len(names[older])
	rows = append(rows, row{text: fmt.Sprintf("handshakes with %d of %d", had, len(peers))})
	rows = naming(rows, row{text: "the last over 3 min ago: ", state: older}, names[older])
	rows = naming(rows, row{text: "none yet: ", state: never}, names[never])
	return naming(rows, row{text: "not known: ", state: unknown}, names[unknown])
}

// shortened cuts a description that would make the box too wide.
func shortened(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// printable replaces characters that are not graphic by U+FFFD: the formats cannot have
// control characters, and others could reverse the direction of a line.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// naming adds a row with up to three of the names, if there are any.
func naming(rows []row, what row, names []string) []row {
	const some = 3
	if more := len(names) - some; more > 0 {
		names = append(names[:some:some], fmt.Sprintf("%d more", more))
	}
	if len(names) == 0 {
		return rows
	}
	what.text += strings.Join(names, ", ")
	return append(rows, what)
}
