// Package path asks the kernel which way packets take: the MTU of the paths to the peers,
// and which packets leave by another way than they should.
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

// Observe finds the MTU of the paths to the peers. If no link and no route of the host is
// narrower than Ethernet and the tunnel file asks for no greater MTU, none can matter. Then
// the kernel is not asked about perhaps ten thousand addresses, only whether it has a route
// to some of them.
//
// A path MTU that the kernel learned from beyond the first router does not count: it
// expires after ten minutes, and a plan that was empty would not stay so.
func Observe(name string, routeIsNarrow bool, s *apply.State, view *tunnel.View, entries journal.Entries,
	next Next) error {
	links, err := nlmsg.Retry(readLinks)
	if err != nil {
		return err
	}
	narrow := slices.ContainsFunc(links, func(l pathLink) bool { return l.name != name && l.narrow() })
	from := sender{s.Device.FwMark, s.Device.ListenPort}
	if s.Link == nil {
		from = sender{view.FwMark, view.ListenPort}
	}
	if narrow || routeIsNarrow || view.MTU > apply.DefaultMTU {
		f, err := ask(outside(s, view, entries), from, outOf(links, name))
		if err != nil {
			return err
		}
		s.Paths = f.paths
	}
	return observeSome(s, view, from, outOf(links, name), next)
}

// outside returns the addresses to look up, each once: the peers' present endpoints and the
// new ones.
func outside(s *apply.State, view *tunnel.View, entries journal.Entries) []netip.AddrPort {
	addrs := newAddresses(len(view.Peers))
	for _, a := range apply.Anywhere {
		addrs.add(netip.AddrPortFrom(a, 0))
	}
	live := make(map[keyring.PublicKey]bool, len(s.Peers))
	for i := range s.Peers {
		addrs.add(s.Peers[i].Endpoint)
		live[s.Peers[i].PublicKey] = s.Peers[i].Endpoint.IsValid()
	}
	for i := range view.Peers {
		p := &view.Peers[i]
		if p.Endpoint == "" || live[p.PublicKey] && entries.Peer(p.PublicKey).Set == p.Endpoint {
			continue
		}
		if literal, err := netip.ParseAddrPort(p.Endpoint); err == nil {
			addrs.add(literal)
		}
	}
	for _, e := range s.Endpoints {
		for _, a := range e.All() {
			addrs.add(a)
		}
	}
	return addrs.list
}
