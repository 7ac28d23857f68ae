package linux

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/tunnel"
)

// Observe implements [apply.Kernel].
func (k *Kernel) Observe(ctx context.Context, name string, view *tunnel.View, entries journal.Entries) (*apply.State, error) {
	s := &apply.State{Sysctls: map[string]string{}}
	few := withoutLists(entries)
	k.narrowRoute = false
	link, err := k.link(name)
	if err != nil {
		return nil, err
	}
	if err := k.observeRenamed(link, s, entries.LinkNumber(name)); err != nil {
		return nil, err
	}
	if view != nil {
		k.expected = max(len(view.Peers), len(view.Routes)) + 16
		k.wg.Expect(k.expected)
		if err := k.observeTables(s.LinkIndex, rangesOf(view), k.newBesides(view), s); err != nil {
			return nil, err
		}
	}
	if link != nil {
		if err := k.observeLink(link, s, view != nil); err != nil {
			return nil, err
		}
	}
	if err := k.observeUplinks(s, view, few); err != nil {
		return nil, err
	}
	if err := k.observeRules(s, view, few); err != nil {
		return nil, err
	}
	if err := k.observeUnreachables(s, view, few); err != nil {
		return nil, err
	}
	if view != nil {
		s.Ways = k.ways(view)
	}
	if err := observeFilter(name, view, s, entries); err != nil {
		return nil, err
	}
	if err := k.observeFirewall(s, view); err != nil {
		return nil, err
	}
	services.ObserveManagers(ctx, name, s, view)
	services.ObserveResolver(name, s, view, entries)
	if err := k.sys.Observe(name, s, view, few); err != nil {
		return nil, err
	}
	k.observeNeeds(name, s, view, few)
	k.observeThreads(name, view, s)
	if view != nil {
		if err := k.observeHurdles(link, s, view); err != nil {
			return nil, err
		}
		k.wg.ReadKeyFiles(view, s)
		k.names.Observe(ctx, view, s, entries)
		if err := k.observePaths(name, s, view, entries); err != nil {
			return nil, err
		}
		if view.Masquerade != nil || apply.NeedsPolicyRouting(view, s) {
			return s, k.observeInner(name, s)
		}
	}
	return s, nil
}

// withoutLists returns the entries that are not of peers or routes, which may be ten
// thousand: those to come go through all entries.
func withoutLists(entries journal.Entries) journal.Entries {
	few := journal.Entries{}
	for resource, e := range entries {
		if resource.Kind != journal.Peer && resource.Kind != journal.Route {
			few[resource] = e
		}
	}
	return few
}

// observeRenamed looks for the link that we made where it has the name no more.
func (k *Kernel) observeRenamed(link netlink.Link, s *apply.State, number int) error {
	if link != nil {
		s.LinkIndex = link.Attrs().Index
	}
	if number == 0 || number == s.LinkIndex {
		return nil
	}
	ours, err := k.nl.LinkByIndex(number)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && kindOf(ours) != "" {
		s.Renamed = ours.Attrs().Name
	}
	return err
}

// kindOf tells a tunnel's link from others: "wireguard", or "tun" for a device
// in user space.
func kindOf(link netlink.Link) string {
	switch link.Type() {
	case "wireguard":
		return "wireguard"
	case "tun", "tuntap":
		return "tun"
	}
	return ""
}

// LinkIndex implements [apply.Kernel].
func (k *Kernel) LinkIndex(name string) (int, error) {
	link, err := k.link(name)
	if err != nil || link == nil {
		return 0, errIfMissing(err, name, true)
	}
	return link.Attrs().Index, nil
}

// observeLink reads the link itself, and what is on it where wanted.
func (k *Kernel) observeLink(link netlink.Link, s *apply.State, whole bool) error {
	a := link.Attrs()
	s.Link = &apply.Link{Kind: cmp.Or(kindOf(link), link.Type()), MTU: a.MTU, Up: a.Flags&unix.IFF_UP != 0}
	if !whole {
		return nil
	}
	if err := k.wg.Ask(a.Name, s.Link.Kind); err != nil {
		return translate(err)
	}
	if err := k.observeAddresses(link, s); err != nil {
		return err
	}
	return translate(k.wg.Observe(a.Name, s)) // last: its answer takes longest
}

func (k *Kernel) observeAddresses(link netlink.Link, s *apply.State) error {
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return k.nl.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p, ok := nlmsg.Prefix(a.IPNet)
		if ok && !p.Addr().IsLinkLocalUnicast() {
			s.Addresses = append(s.Addresses, p)
		}
	}
	return nil
}

// observeRoutes reads the routes that somebody put on the link, in any table.
func (k *Kernel) observeRoutes(link netlink.Link, s *apply.State) error {
	return k.observeTables(link.Attrs().Index, ranges{}, nil, s)
}

// observeUplinks finds the interfaces with a default route and the proxy
// neighbours, where the view or the journal speaks of any.
func (k *Kernel) observeUplinks(s *apply.State, view *tunnel.View, entries journal.Entries) error {
	forward := view != nil && view.Forward
	proxies := view != nil && view.Proxies != nil
	for resource := range entries {
		proxies = proxies || resource.Kind == journal.Proxy
	}
	if !forward && !proxies {
		return nil
	}
	links, err := nlmsg.Retry(k.nl.LinkList)
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		if l.Attrs().MasterIndex != 0 {
			s.Ports = append(s.Ports, l.Attrs().Name)
		}
	}
	if s.Uplinks, err = k.uplinks(names); err != nil || !proxies {
		return err
	}
	neighbours, err := nlmsg.Retry(func() ([]netlink.Neigh, error) { return k.nl.NeighProxyList(0, netlink.FAMILY_V6) })
	for _, n := range neighbours {
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			s.Proxies = append(s.Proxies, apply.Proxy{Link: names[n.LinkIndex], Addr: addr})
		}
	}
	return err
}
