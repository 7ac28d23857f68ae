package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"wgkeys/keyring/parallel"
)

// A linter finds what is spelled right and cannot work.
type linter struct {
	problems
	t    *Tunnel
	main pos // the first line of the main file
}

// lint goes from names to pairs to prefixes, and stops when further findings would only
// follow from earlier ones.
func (l *linter) lint() {
	if len(l.t.hosts) == 0 {
		l.add(l.main, "write [hosts.NAME]", "the tunnel has no hosts")
	}
	l.mtu(l.t.mtu)
	for _, h := range l.t.sorted {
		l.hostNames(h)
		l.mtu(h.mtu)
	}
	for _, step := range []func(){l.pairs, l.prefixes} {
		if len(l.list) > 0 {
			return
		}
		step()
	}
}

// hostNames checks the names of other hosts that h mentions.
func (l *linter) hostNames(h *host) {
	mentioned := slices.Clone(h.peers.vals)
	for _, name := range h.paired() {
		mentioned = append(mentioned, value[string]{name, h.pairs[name].pos})
	}
	for _, m := range mentioned {
		switch l.t.hosts[m.val] {
		case h:
			l.add(m.pos, "", "host %q cannot be its own peer", h.name)
		case nil:
			l.add(m.pos, "", "no host is named %s%s", shown(m.val), didYouMean(m.val, maps.Keys(l.t.hosts)))
		}
	}
}

func (l *linter) pairs() {
	for _, h := range l.t.sorted {
		l.peerList(h)
		l.port(h.endpoint, h)
		l.reach(h)
		for _, peer := range h.paired() {
			l.pair(h, l.t.hosts[peer], h.pairs[peer])
		}
		if len(l.t.hosts) > 1 && l.t.lonely(h) {
			why, hint := l.whyLonely(h)
			l.add(h.pos, hint, "no peer can reach host %q: %s", h.name, why)
		}
	}
	l.psk()
}

func (l *linter) prefixes() {
	outside := linter{t: l.t, main: l.main}
	var twice bool
	parallel.Do(len(l.t.sorted) >= fewHosts, func() { twice = claimedTwice(l.t) }, outside.endpoints)
	if twice {
		if l.addresses(); len(l.list) > 0 {
			return
		}
	}
	l.join(&outside.problems)
	l.sharedPrefixes(twice)
	for _, h := range l.t.sorted {
		l.gateway(h)
		lintRoutes(l, h)
		lintMasquerade(l, h)
		lintPSKFiles(l, h)
	}
}

func (l *linter) whyLonely(h *host) (why, hint string) {
	switch {
	case !slices.ContainsFunc(l.t.sorted, func(h *host) bool { return !h.unmanaged() }):
		return "all hosts are unmanaged, and nobody tells one of the other",
			"take managed = false out of a host that you log in to"
	case h.peers.given():
		return "its list of peers is empty", "write a name into the list in " + h.peers.String()
	case h.reached():
		return "all others have a list of peers that does not name it",
			fmt.Sprintf("write %q into the list of a peer", h.name)
	}
	return "neither it nor a host that may be its peer has an endpoint",
		"write endpoint = under one of the hosts, or reachable = true where the peers know the address by themselves"
}

// peerList checks the list of peers of h.
func (l *linter) peerList(h *host) {
	for _, p := range h.peers.vals {
		o := l.t.hosts[p.val]
		switch {
		case o.peers.given() && !l.t.arePeers(o, h):
			l.add(p.pos, "", "host %q lists %q as its peer, but is not on the list of that host in %s",
				h.name, o.name, o.peers.pos)
		case bothUnmanaged(h, o):
			l.add(p.pos, "", "hosts %q and %q are not peers: %s", h.name, o.name, whyNot(h, o))
		case !canMeet(h, o) && (h.unmanaged() || o.unmanaged()):
			l.comes(p.pos, h, o)
		case !canMeet(h, o):
			l.add(p.pos, fmt.Sprintf("write endpoint = under [hosts.%s] or [hosts.%s]", h.name, o.name),
				"neither %q nor %q has an endpoint: no packet finds its way", h.name, o.name)
		}
	}
}

// pair checks what h says about its entry of o.
func (l *linter) pair(h, o *host, p *pair) {
	if !l.t.arePeers(h, o) {
		l.add(p.pos, "", "hosts %q and %q are not peers: %s", h.name, o.name, whyNot(h, o))
	}
	l.port(p.endpoint, o)
	mine, theirs := p.psk, o.pair(h.name).psk
	if mine.given() && theirs.given() && mine.val != theirs.val && h.name < o.name {
		l.add(mine.pos, "", "hosts %q and %q share one psk, but %s says otherwise", h.name, o.name, theirs.pos)
	}
}

func whyNot(a, b *host) string {
	switch {
	case bothUnmanaged(a, b):
		return "both are unmanaged, and nobody tells one of the other"
	case a.peers.given():
		return "not on the list in " + a.peers.String()
	case b.peers.given():
		return "not on the list in " + b.peers.String()
	}
	return "neither has an endpoint"
}

// mtu refuses less than the INSIDE families need.
func (l *linter) mtu(mtu value[int]) {
	if l.t.v6 && mtu.given() && mtu.val < minMTU {
		l.add(mtu.pos, "", "mtu: found %d, want a whole number from %d to %d: the tunnel carries IPv6",
			mtu.val, minMTU, max16)
	}
}

// port refuses an endpoint of h whose port nobody can know.
func (l *linter) port(e value[endpoints], h *host) {
	bare := slices.IndexFunc(e.val, func(e endpoint) bool { return e.port == 0 })
	if bare >= 0 && l.t.listenPortOf(h) == 0 {
		l.add(e.pos, "write listen_port = under [hosts."+h.name+"]",
			"endpoint %q has no port, and listen_port 0 lets the kernel choose one", e.val[bare].host())
	}
}

// psk refuses two peers of which one wants a preshared key and the other none.
func (l *linter) psk() {
	var with, without []*host
	for _, h := range l.t.sorted {
		switch {
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

// addresses refuses an address that two hosts have, and one that a host has and also
// routes. There is none unless something is claimed twice.
func (l *linter) addresses() {
	seen := make(map[netip.Addr]value[string], len(l.t.sorted))
	own := map[netip.Prefix]pos{}
	for _, h := range l.t.sorted {
		clear(own)
		for _, c := range h.claims {
			if old, ok := own[c.val]; ok {
				l.add(c.pos, "", "%s of host %q is there already, in %s", c.val, h.name, old)
			}
			own[c.val] = c.pos
		}
		for _, a := range h.addresses.vals {
			addr := a.val.Addr()
			old, ok := seen[addr]
			if ok && old.val != h.name {
				l.both(value[string]{h.name, a.pos}, old, "address "+addr.String())
			}
			seen[addr] = value[string]{h.name, a.pos}
		}
	}
}

// both reports what two hosts, each with its line, have and only one may, at the later line.
func (l *linter) both(host, other value[string], what string) {
	if host.pos.compare(other.pos) < 0 {
		host, other = other, host
	}
	l.add(host.pos, "", "%s of host %q is already that of %q in %s", what, host.val, other.val, other.pos)
}

// endpoints refuses an endpoint that is an INSIDE address, or is in the network of one: the
// kernel's own route for it leads into the tunnel. A prefix that is routed through the
// tunnel may contain its endpoint, since encrypted packets do not use that route.
func (l *linter) endpoints() {
	inside := l.inside()
	for _, h := range l.t.sorted {
		l.outside(h.endpoint, inside)
		for _, p := range h.pairs {
			l.outside(p.endpoint, inside)
		}
	}
}

// inside returns the networks of the INSIDE addresses and where they are set.
func (l *linter) inside() *prefixSet[pos] {
	inside := prefixSet[pos]{vals: make(map[netip.Prefix]pos, len(l.t.sorted))}
	for _, h := range l.t.sorted {
		for _, a := range h.addresses.vals {
			for n := range a.val.networks {
				inside.put(n, a.pos)
			}
		}
	}
	return &inside
}

func (l *linter) outside(all value[endpoints], inside *prefixSet[pos]) {
	for _, e := range all.val {
		if p, at, ok := inside.around(e.addr); ok {
			l.add(all.pos, "write the address that the host has without the tunnel",
				"endpoint %s is OUTSIDE, but %s is INSIDE by %s", e.addr, p, at)
		}
	}
}

// lintMasquerade refuses uplinks by which nothing could leave with an address of h.
func lintMasquerade(l *linter, h *host) {
	m := h.masquerade
	if slices.Contains(m.val.by, l.t.Name) {
		l.add(m.pos, `masquerade = "tunnel" is for what goes into the tunnel`,
			"%s is the tunnel's own interface, and no uplink", l.t.Name)
	}
	if m.val.tunnel && len(h.addresses.vals) == 0 {
		l.add(m.pos, "write addresses = under [hosts."+h.name+"]",
			"host %q has no address, INSIDE, for its networks to leave under", h.name)
	}
}

// lintPSKFiles refuses a file for a preshared key that does not exist, and one file for two
// keys.
func lintPSKFiles(l *linter, h *host) {
	named := func(peer string) bool { return h.pairs[peer].pskFile.given() }
	if !slices.ContainsFunc(h.paired(), named) {
		return
	}
	whose := map[string]string{l.t.privateKeyFile(h): "the private key"}
	for _, peer := range l.t.peers(h) {
		p := h.pair(peer.name)
		file := l.t.pskFile(h, peer)
		switch other, taken := whose[file]; {
		case !l.t.hasPSK(h, peer) && !p.pskFile.given():
			continue
		case !l.t.hasPSK(h, peer):
			l.add(p.pskFile.pos, fmt.Sprintf("write psk = true under [hosts.%s.peer.%s]", h.name, peer.name),
				"host %q has a psk_file for its peer %q, and the two share no preshared key", h.name, peer.name)
		case taken:
			at := first(p.pskFile, value[string]{pos: h.pos}).pos
			l.add(at, "write another psk_file =", "%s of host %q is to have the preshared key with %q, and has %s",
				file, h.name, peer.name, other)
		}
		whose[file] = fmt.Sprintf("the one with %q", peer.name)
	}
}
