// Package path asks the kernel which way packets take: how wide the ways to the peers are,
// and what leaves by another one than it should.
package path

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Observe finds how wide the paths to the peers are. Where no link and no
// route of the host is narrower than Ethernet, nor the tunnel file asks for more,
// none can matter, and the kernel is not asked about ten thousand addresses: only
// whether there is a way at all to some of them.
//
// What the kernel has learned of a path beyond the first router does not count:
// it forgets that after ten minutes, and a plan that is empty would not stay so.
func Observe(name string, routeIsNarrow bool, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	links, err := nlmsg.Retry(readLinks)
	if err != nil {
		return err
	}
	narrow := slices.ContainsFunc(links, func(l pathLink) bool { return l.name != name && l.narrow() })
	mark := s.Device.FwMark
	if s.Link == nil {
		mark = view.FwMark
	}
	if narrow || routeIsNarrow || view.MTU > apply.DefaultMTU {
		if s.Paths, _, err = lookUp(outside(s, view, entries), mark, links, name); err != nil {
			return err
		}
	}
	_, s.Unrouted, err = lookUp(someOutside(s, view), mark, links, name)
	return err
}

// outside are the addresses to look up, each once: all that the link has, and
// those that it is to get.
func outside(s *apply.State, view *tunnel.View, entries journal.Entries) []netip.Addr {
	addrs := newAddresses(len(view.Peers))
	for _, a := range apply.Anywhere {
		addrs.add(a)
	}
	live := make(map[keyring.PublicKey]bool, len(s.Peers))
	for i := range s.Peers {
		addrs.add(s.Peers[i].Endpoint.Addr())
		live[s.Peers[i].PublicKey] = s.Peers[i].Endpoint.IsValid()
	}
	for i := range view.Peers {
		p := &view.Peers[i]
		if p.Endpoint == "" || live[p.PublicKey] && entries.Peer(p.PublicKey).Set == p.Endpoint {
			continue
		}
		if literal, err := netip.ParseAddrPort(p.Endpoint); err == nil {
			addrs.add(literal.Addr())
		}
	}
	for _, e := range s.Endpoints {
		for _, a := range e.All() {
			addrs.add(a.Addr())
		}
	}
	return addrs.list
}
