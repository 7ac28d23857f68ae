package apply

import (
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A peerPlanner is for the peers.
type peerPlanner struct {
	*planner
	unresolved unresolved // endpoints that are names
}

// setPeers plans the peers that are new or differ, and returns those to remove
// once all others have what they need.
func (p *peerPlanner) setPeers() (remove []*Peer) {
	live := livePeers{peers: p.state.Peers, taken: make([]bool, len(p.state.Peers))}
	hands := handsOf(p.planner)
	var changes []PeerChange
	for i := range p.view.Peers {
		want := &p.view.Peers[i]
		have := live.take(want.PublicKey)
		if have != nil && p.settled(want, have) {
			continue
		}
		if have != nil {
			have = p.remembered(*have)
		}
		if c, ok := p.peerChange(want, have, hands); ok {
			changes = append(changes, c)
		}
	}
	for i := range p.state.Peers {
		if live.taken[i] {
			continue
		}
		peer := p.remembered(p.state.Peers[i])
		if c, ok := p.robbed(peer, hands); ok {
			changes = append(changes, c)
			peer = c.New
		}
		remove = append(remove, peer)
	}
	p.noteUnresolved()
	// A peer that takes a prefix goes before the one that gives it: so the prefix moves at
	// once, without a moment in which it is nobody's.
	slices.SortStableFunc(changes, func(a, b PeerChange) int { return givesOnly(a) - givesOnly(b) })
	for _, c := range changes {
		p.step(c, "%s", p.whyPeer(c))
	}
	return remove
}

// robbed is the change of a peer that is not in the view, but has prefixes that
// go to others: when those are undone it gets them back.
func (p *peerPlanner) robbed(have *Peer, h hands) (PeerChange, bool) {
	next := *have
	gave := h.gets.other(have.AllowedIPs, have.PublicKey)
	next.AllowedIPs = subtract(have.AllowedIPs, gave)
	return PeerChange{Link: p.view.Tunnel, Old: have, New: &next, Gave: gave}, len(gave) > 0
}

// remembered adds what only the journal knows of a peer. Until a rotation is
// finished it knows a peer by the key before.
func (p *peerPlanner) remembered(peer Peer) *Peer {
	e, ok := p.mine.Entries[PeerChange{New: &peer}.Resource()]
	if old, replaced := p.rotated.before[peer.PublicKey]; replaced && !ok {
		e = p.mine.Entries[journal.OfPeer(old)]
	}
	if e.Set != journal.Unsure {
		peer.Configured = e.Set
	}
	return &peer
}

func (p *peerPlanner) removePeers(peers []*Peer) {
	for _, peer := range peers {
		c := PeerChange{Link: p.view.Tunnel, Old: peer}
		switch name, old := p.rotated.old[peer.PublicKey]; {
		case p.rotated.unused[peer.PublicKey]:
			p.step(c, "left behind by a rotation that did not finish")
		case old:
			p.note("peer %s uses its next key; the old one, %s, goes when the rotation is finished: wgkeys rotate %[1]s", name,
				peer.PublicKey)
		case p.isMine(c.Resource()):
			p.step(c, "no longer a peer of %s", p.view.Host)
		default:
			p.note("peer %s of %s was not made by wgkeys: left alone", peer.PublicKey, p.view.Tunnel)
		}
	}
}

// hands tells which peer a prefix is with and which one is to have it.
type hands struct{ holds, gets *owners }

func handsOf(p *planner) hands {
	return hands{
		&owners{list: func(yield func(keyring.PublicKey, []netip.Prefix)) {
			for i := range p.state.Peers {
				yield(p.state.Peers[i].PublicKey, p.state.Peers[i].AllowedIPs)
			}
		}},
		&owners{list: func(yield func(keyring.PublicKey, []netip.Prefix)) {
			for i := range p.view.Peers {
				yield(p.view.Peers[i].PublicKey, p.view.Peers[i].AllowedIPs)
			}
		}},
	}
}

// moving returns those of prefixes that owner's map gives to another than key.
func moving(prefixes []netip.Prefix, owner map[netip.Prefix]keyring.PublicKey, key keyring.PublicKey) []netip.Prefix {
	var moved []netip.Prefix
	for _, prefix := range prefixes {
		if other, ok := owner[prefix]; ok && other != key {
			moved = append(moved, prefix)
		}
	}
	return moved
}

func (p *peerPlanner) peerChange(want *tunnel.Peer, have *Peer, h hands) (PeerChange, bool) {
	next := &Peer{
		PublicKey:        want.PublicKey,
		Keepalive:        want.Keepalive,
		PresharedKeyFile: want.PresharedKeyFile,
		AllowedIPs:       want.AllowedIPs,
	}
	next.Endpoint, next.Configured = p.endpoint(want, have)
	if want.PresharedKeyFile != "" {
		next.PSK = p.state.KeyFiles[want.PresharedKeyFile].Fingerprint
	}
	c := PeerChange{Link: p.view.Tunnel, Name: want.Name, Old: have, New: next}
	if have != nil {
		next.LastHandshake = have.LastHandshake // for whoever undoes this
	}
	if have == nil {
		c.Took = h.holds.other(next.AllowedIPs, want.PublicKey)
		return c, true
	}
	c.Took = h.holds.other(c.Gained(), want.PublicKey)
	c.Gave = h.gets.other(c.Lost(), want.PublicKey)
	changed := next.Endpoint.IsValid() || next.Keepalive != have.Keepalive || next.PSK != have.PSK ||
		len(c.Gained()) > 0 || len(c.Lost()) > 0 || len(c.Gave) > 0
	return c, changed
}

// endpoint returns the address to set, or the zero value to leave the peer
// where it is: it may have roamed from what the view says. With it comes the
// spelling that the peer's endpoint then is of.
func (p *peerPlanner) endpoint(want *tunnel.Peer, have *Peer) (netip.AddrPort, string) {
	if want.Endpoint == "" {
		if have.configured() != "" && have.Endpoint.IsValid() {
			// WireGuard has no way to take an endpoint back but to remove the peer.
			p.note("peer %s has no endpoint in the tunnel file any more: the kernel keeps %s, OUTSIDE, until the peer comes from elsewhere", want.Name, have.Endpoint)
		}
		return netip.AddrPort{}, ""
	}
	if have != nil && have.Endpoint.IsValid() && have.Configured == want.Endpoint && !Strayed(p.view, have.Endpoint) {
		return p.moved(want, have), want.Endpoint
	}
	if addr, err := netip.ParseAddrPort(want.Endpoint); err == nil {
		return addr, want.Endpoint
	}
	e := p.state.Endpoints[want.Endpoint]
	if e.Err != nil {
		p.leave(want, e.Err)
	}
	if !e.Addr.IsValid() {
		return e.Addr, have.configured()
	}
	return e.Addr, want.Endpoint
}

func (p *peerPlanner) whyPeer(c PeerChange) string {
	switch name := p.unresolved.endpoint[c.Name]; {
	case c.Old == nil && name != "":
		return "peer " + c.Name + ", to be reached at " + name + ", OUTSIDE, which cannot be resolved now"
	case c.Old == nil && c.New.Configured == "":
		return "peer " + c.Name + ", which comes to us"
	case c.Old == nil:
		return "peer " + c.Name + ", reached at " + c.New.Configured + ", OUTSIDE"
	case becameKnown(c):
		return "peer " + c.Name + ", which " + c.New.Configured + ", OUTSIDE, leads to now"
	case movedOnly(c) && Strayed(p.view, c.Old.Endpoint):
		return "peer " + c.Name + " was last heard from an address INSIDE, where it cannot be reached: back to " + c.New.Configured + ", OUTSIDE"
	case movedOnly(c):
		return "peer " + c.Name + " does not answer at " + c.Old.Endpoint.String() + ", and " + c.New.Configured +
			", OUTSIDE, leads elsewhere now"
	case len(c.Gained()) == 0 && len(c.Lost()) == 0 && len(c.Gave) > 0:
		return strings.TrimSpace("peer "+c.Name) + ": what it was allowed, another peer takes"
	}
	return "peer " + c.Name + " differs"
}
