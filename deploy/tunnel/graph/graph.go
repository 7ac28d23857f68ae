// Package graph draws a tunnel: who can start to whom, what lives INSIDE and
// what OUTSIDE, and, where the hosts were asked, the handshakes. It writes
// Mermaid, DOT and SVG; none takes an external program.
//
// The package is pure. The same tunnel gives the same bytes.
//
// An arrow leads to a host whose endpoint is known: that way a first packet can
// go. Where every pair between two sets of hosts is alike, as with the spokes of
// several hubs, and arrows would be too many to follow, a frame is drawn around
// the set, and one arrow stands for all.
package graph

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"wgkeys/deploy/tunnel"
)

// A Graph is what is drawn.
type Graph struct {
	*tunnel.Topology

	// Live has the handshakes with each peer, by each host that has answered:
	// how long ago the last one was, nil for never. Nil: nobody was asked.
	Live    map[string]map[string]*time.Duration
	InWords func(time.Duration) string // how an age is spelled
}

// A shake is what is known of the handshakes of a pair.
type shake int

const (
	notAsked shake = iota
	recent         // within aliveFor
	older
	never
	unknown // neither end has answered
)

// aliveFor is for how long after a handshake a session carries packets
// (REJECT_AFTER_TIME in the WireGuard paper, section 6.1).
const aliveFor = 180 * time.Second

// handshake returns the last handshake of two hosts: the ends may know of
// different ones, as after a reboot.
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

// A row is a line of text about a host. What it tells of an address begins with where
// that lives.
type row struct {
	where, text string
	state       shake // what it tells of handshakes
}

const inside, outside = "INSIDE", "OUTSIDE"

// maxRows is how many INSIDE prefixes, and peers, are told of one host.
const maxRows = 5

// A peering is a link as one of its ends sees it.
type peering struct {
	peer int
	to   string // OUTSIDE: where the first packet goes; "": nowhere, or that is not known
}

// peerings returns the links of each host.
func (g *Graph) peerings() [][]peering {
	all := make([][]peering, len(g.Hosts))
	for _, l := range g.Links {
		all[l.A] = append(all[l.A], peering{l.B, l.ToB.At})
		all[l.B] = append(all[l.B], peering{l.A, l.ToA.At})
	}
	return all
}

// title returns what stands first in the box of a host.
func (g *Graph) title(i int) string {
	if g.Hosts[i].Unmanaged {
		return g.Hosts[i].Name + " (unmanaged)"
	}
	return g.Hosts[i].Name
}

// rows returns what is told of a host below its name.
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

// liveRows tells of a host's handshakes: of few peers each, of many how many.
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

// shortened cuts a description that would make its box wide.
func shortened(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// printable returns s with U+FFFD for what is no character to see: a control character has
// no place in any of the formats, and another may turn the order of a line around.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// naming adds a row with some of the names, if there are any.
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
