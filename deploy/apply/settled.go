package apply

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Nearly all of ten thousand peers are as wanted. What follows finds those without allocating
// anything: no change that is thrown away, no map in which nothing is looked up.

// settled reports whether a peer needs no change, for sure: where it is not sure,
// [planner.peerChange] finds out.
func (p *peerPlanner) settled(want *tunnel.Peer, have *Peer) bool {
	if want.Keepalive != have.Keepalive || !slices.Equal(want.AllowedIPs, have.AllowedIPs) {
		return false
	}
	psk := ""
	if want.PresharedKeyFile != "" {
		psk = p.state.KeyFiles[want.PresharedKeyFile].Fingerprint
	}
	if psk != have.PSK || len(p.rotated.before) > 0 {
		return false
	}
	if len(p.state.Endpoints) > 0 {
		if _, lookedUp := p.state.Endpoints[want.Endpoint]; lookedUp {
			return false
		}
	}
	if !have.Endpoint.IsValid() {
		return want.Endpoint == ""
	}
	if want.Endpoint != "" && Strayed(p.view, have.Endpoint) {
		return false
	}
	set := p.mine.Peer(want.PublicKey).Set
	if set == journal.Unsure {
		set = ""
	}
	return set == want.Endpoint
}

// livePeers finds the kernel's peers by their keys. They mostly stand in the order of
// the view, in which they were made.
type livePeers struct {
	peers []Peer
	taken []bool // by a peer of the view
	next  int
	byKey map[keyring.PublicKey]int // made where the order is another
}

// take returns the peer of this key, or nil.
func (l *livePeers) take(key keyring.PublicKey) *Peer {
	i := l.next
	if i >= len(l.peers) || l.peers[i].PublicKey != key {
		var ok bool
		if i, ok = l.find(key); !ok {
			return nil
		}
	}
	l.next, l.taken[i] = i+1, true
	return &l.peers[i]
}

func (l *livePeers) find(key keyring.PublicKey) (int, bool) {
	if l.byKey == nil {
		l.byKey = make(map[keyring.PublicKey]int, len(l.peers))
		for i := range l.peers {
			l.byKey[l.peers[i].PublicKey] = i
		}
	}
	i, ok := l.byKey[key]
	return i, ok
}

// An owners tells which peer a prefix is with.
type owners struct {
	list func(yield func(keyring.PublicKey, []netip.Prefix))
	keys map[netip.Prefix]keyring.PublicKey // made when it is first asked
}

// other returns those of prefixes that are with another peer than key.
func (o *owners) other(prefixes []netip.Prefix, key keyring.PublicKey) []netip.Prefix {
	if len(prefixes) == 0 {
		return nil
	}
	if o.keys == nil {
		o.keys = map[netip.Prefix]keyring.PublicKey{}
		o.list(func(key keyring.PublicKey, prefixes []netip.Prefix) {
			for _, prefix := range prefixes {
				o.keys[prefix] = key
			}
		})
	}
	return moving(prefixes, o.keys, key)
}
