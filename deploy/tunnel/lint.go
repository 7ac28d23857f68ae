package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A linter finds what is spelled right and cannot work.
type linter struct {
	problems
	t    *Tunnel
	main pos // the first line of the main file
}

func (l *linter) lint() {
	if len(l.t.hosts) == 0 {
		l.add(l.main, "write [hosts.NAME]", "the tunnel has no hosts")
	}
	for _, name := range l.t.names {
		h := l.t.hosts[name]
		l.peerList(h)
		l.pairs(h)
		l.mtu(first(h.mtu, l.t.mtu))
		l.port(h.endpoint, h)
		if l.t.lonely(h) {
			l.add(h.pos, "write endpoint = under one host of each pair",
				"no peer can reach host %q: %s", name, l.whyLonely(h))
		}
	}
	if len(l.list) > 0 {
		return // the rest would follow from these
	}
	l.psk()
	l.addresses()
	l.endpoints()
	l.sharedPrefixes()
	for _, name := range l.t.names {
		l.gateway(l.t.hosts[name])
	}
}

func (l *linter) whyLonely(h *host) string {
	switch {
	case len(l.t.hosts) == 1:
		return "it is the only host"
	case h.peers.given():
		return "its list of peers is empty in " + h.peers.String()
	case h.endpoint.given():
		return "all others have a list of peers that does not name it"
	}
	return "neither it nor a host that may be its peer has an endpoint"
}

// host returns the host of this name, or reports the name.
func (l *linter) host(name string, at pos) *host {
	h := l.t.hosts[name]
	if h == nil {
		l.add(at, "", "no host is named %s%s", shown(name), didYouMean(name, maps.Keys(l.t.hosts)))
	}
	return h
}

// peerList checks the list of peers of h.
func (l *linter) peerList(h *host) {
	for _, p := range h.peers.vals {
		o := l.host(p.val, p.pos)
		switch {
		case o == nil:
		case o == h:
			l.add(p.pos, "", "host %q cannot be its own peer", h.name)
		case o.peers.given() && !l.t.arePeers(o, h):
			l.add(p.pos, "", "host %q lists %q as its peer, but is not on the list of that host in %s",
				h.name, o.name, o.peers.pos)
		case !canMeet(h, o):
			l.add(p.pos, fmt.Sprintf("write endpoint = under [hosts.%s] or [hosts.%s]", h.name, o.name),
				"neither %q nor %q has an endpoint: no packet finds its way", h.name, o.name)
		}
	}
}

// pairs checks what h says about its peers.
func (l *linter) pairs(h *host) {
	for _, name := range slices.Sorted(maps.Keys(h.pairs)) {
		p := h.pairs[name]
		o := l.host(name, p.pos)
		switch {
		case o == nil:
			continue
		case o == h:
			l.add(p.pos, "", "host %q cannot be its own peer", h.name)
			continue
		case !l.t.arePeers(h, o):
			l.add(p.pos, "", "hosts %q and %q are no peers: %s", h.name, name, whyNot(h, o))
		}
		l.port(p.endpoint, o)
		mine, theirs := p.psk, o.pair(h.name).psk
		if mine.given() && theirs.given() && mine.val != theirs.val && h.name < name {
			l.add(mine.pos, "", "hosts %q and %q share one psk, but %s says otherwise", h.name, name, theirs.pos)
		}
	}
}

func whyNot(a, b *host) string {
	switch {
	case a.peers.given():
		return "not on the list in " + a.peers.String()
	case b.peers.given():
		return "not on the list in " + b.peers.String()
	}
	return "neither has an endpoint"
}

// mtu refuses less than the inside needs.
func (l *linter) mtu(mtu value[int]) {
	if l.t.v6 && mtu.given() && mtu.val < minMTU {
		l.add(mtu.pos, "", "mtu: found %d, want a whole number from %d to %d: the tunnel carries IPv6",
			mtu.val, minMTU, max16)
	}
}

// port refuses an endpoint of h whose port nobody can know.
func (l *linter) port(e value[endpoint], h *host) {
	if e.given() && e.val.port == 0 && l.t.listenPortOf(h) == 0 {
		l.add(e.pos, "write listen_port = under [hosts."+h.name+"]",
			"endpoint %q has no port, and listen_port 0 lets the kernel choose one", e.val.host())
	}
}

// psk refuses two peers of which one wants a preshared key and the other none.
func (l *linter) psk() {
	var with, without []*host
	for _, name := range l.t.names {
		switch h := l.t.hosts[name]; {
		case h.psk.given() && h.psk.val:
			with = append(with, h)
		case h.psk.given():
			without = append(without, h)
		}
	}
	for _, a := range with {
		for _, b := range without {
			pair := first(a.pair(b.name).psk, b.pair(a.name).psk)
			if !pair.given() && l.t.arePeers(a, b) {
				l.add(a.psk.pos, fmt.Sprintf("write psk = under [hosts.%s.peer.%s]", a.name, b.name),
					"host %q has psk = true, but its peer %q has psk = false in %s", a.name, b.name, b.psk.pos)
				return
			}
		}
	}
}

// addresses refuses an address that two hosts have.
func (l *linter) addresses() {
	seen := map[netip.Addr]value[string]{}
	for _, name := range l.t.names {
		for _, a := range l.t.hosts[name].addresses.vals {
			addr := a.val.Addr()
			if old, ok := seen[addr]; ok {
				l.both(a.pos, name, old.pos, old.val, "address %s", addr)
				continue
			}
			seen[addr] = value[string]{name, a.pos}
		}
	}
}

// both reports what two hosts have and only one may, at the later line.
func (l *linter) both(at pos, host string, old pos, other, format string, args ...any) {
	if at.compare(old) < 0 {
		at, host, old, other = old, other, at, host
	}
	l.add(at, "", format+" of host %q is already that of %q in %s", append(args, host, other, old)...)
}

// endpoints refuses an endpoint that is an INSIDE address.
func (l *linter) endpoints() {
	inside := l.inside()
	for _, name := range l.t.names {
		h := l.t.hosts[name]
		l.outside(h.endpoint, inside)
		for _, p := range h.pairs {
			l.outside(p.endpoint, inside)
		}
	}
}

// inside returns what is INSIDE and where it says so. A default route does not
// make the whole internet INSIDE.
func (l *linter) inside() *prefixSet[pos] {
	var inside prefixSet[pos]
	for _, name := range l.t.names {
		h := l.t.hosts[name]
		for _, a := range h.addresses.vals {
			inside.put(a.val.Masked(), a.pos)
		}
		for _, r := range h.routes.vals {
			if r.val.Bits() > 0 {
				inside.put(r.val, r.pos)
			}
		}
	}
	return &inside
}

func (l *linter) outside(e value[endpoint], inside *prefixSet[pos]) {
	if p, at, ok := inside.around(e.val.addr); ok {
		l.add(e.pos, "write the address that the host has without the tunnel",
			"endpoint %s is OUTSIDE, but %s is INSIDE by %s", e.val.addr, p, at)
	}
}
