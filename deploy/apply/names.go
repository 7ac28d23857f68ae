package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// HandshakeOverdue is the age at which a handshake ought to have been followed by
// another: who began it renews it after 120 s (REKEY_AFTER_TIME), and goes on
// trying where no answer comes. wireguard-tools' reresolve-dns.sh waits as long.
const HandshakeOverdue = 135 * time.Second

// Overdue reports whether something was sent to the peer and its handshake is
// missing: it may have moved. Who was sent nothing owes no answer.
func (p *Peer) Overdue(now time.Time) bool {
	if p.Sent == 0 || !p.Endpoint.IsValid() {
		return false
	}
	return p.LastHandshake.IsZero() || now.Sub(p.LastHandshake) > HandshakeOverdue
}

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

// MoveOf is the change of a peer that takes it to another address of its name.
func MoveOf(link, host string, have *Peer, name string, to netip.AddrPort) PeerChange {
	next := *have
	next.Endpoint, next.Configured = to, name
	return PeerChange{Link: link, Name: host, Old: have, New: &next}
}

// NamesAnother reports whether the endpoint that was last given to a peer is another
// than name: an apply came in between.
func (j *Journal) NamesAnother(peer *Peer, name string) bool {
	set := j.Entries[PeerChange{New: peer}.Resource()].Set
	return set != "" && set != unsure && set != name
}

// addressesOf returns where the peer may be reached, OUTSIDE: as the view has it,
// wherever its name leads, in both families, and where it is now.
func addressesOf(p *planner, peer *tunnel.Peer, live map[keyring.PublicKey]netip.Addr) []netip.Addr {
	addrs := []netip.Addr{literal(peer), live[peer.PublicKey]}
	for _, a := range p.state.Endpoints[peer.Endpoint].All() {
		addrs = append(addrs, a.Addr())
	}
	return addrs
}

// movedOnly reports whether nothing of a peer changes but the address that its name
// leads to, and becameKnown whether nothing but that it leads to one now.
func movedOnly(c PeerChange) bool {
	return addressOnly(c) && c.Old.Endpoint.IsValid() && c.Old.Configured == c.New.Configured
}

// becameKnown: see movedOnly.
func becameKnown(c PeerChange) bool { return addressOnly(c) && !c.Old.Endpoint.IsValid() }

func addressOnly(c PeerChange) bool {
	return c.Old != nil && c.New != nil && c.New.Endpoint.IsValid() && c.Old.Keepalive == c.New.Keepalive &&
		c.Old.PSK == c.New.PSK && len(c.Gained()) == 0 && len(c.Lost()) == 0 && len(c.Gave) == 0
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
