package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// moved returns where a peer is to be tried that was looked up again, because its
// handshake is overdue, or the zero value: its name may still lead to where it is.
func (p *peerPlanner) moved(want *tunnel.Peer, have *Peer) netip.AddrPort {
	e := p.state.Endpoints[want.Endpoint]
	if e.Err != nil {
		p.leave(want, e.Err)
	}
	if slices.Contains(e.All(), have.Endpoint) {
		return netip.AddrPort{}
	}
	return e.Addr
}

// unresolved are the peers whose names lead nowhere now.
type unresolved struct {
	peers    []*tunnel.Peer
	why      []error           // of each
	endpoint map[string]string // by peer
}

// leave notes that the name of a peer leads nowhere now.
func (p *peerPlanner) leave(peer *tunnel.Peer, err error) {
	u := &p.unresolved
	if u.endpoint == nil {
		u.endpoint = map[string]string{}
	}
	u.peers, u.why = append(u.peers, peer), append(u.why, err)
	u.endpoint[peer.Name] = peer.Endpoint
}

// noteUnresolved is one note, of however many: it is mostly the network that is
// away, and not their names.
func (p *peerPlanner) noteUnresolved() {
	all, why := p.unresolved.peers, p.unresolved.why
	switch len(all) {
	case 0:
		return
	case 1:
		p.note("peer %s: its endpoint %s, OUTSIDE, cannot be resolved now: %v", all[0].Name, all[0].Endpoint, why[0])
		return
	}
	const shown = 3
	var some []string
	for i, peer := range all[:min(shown, len(all))] {
		some = append(some, fmt.Sprintf("%s at %s (%v)", peer.Name, peer.Endpoint, why[i]))
	}
	more := ""
	if n := len(all) - shown; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	p.note("the endpoints of %d peers, OUTSIDE, cannot be resolved now: %s%s", len(all), strings.Join(some, ", "), more)
}
