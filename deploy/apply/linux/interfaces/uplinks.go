// Package interfaces reads the host's interfaces other than the tunnel's: its uplinks,
// bridges, and interfaces with containers or other tunnels behind them.
package interfaces

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// uplinks returns the interfaces with a default route in the main table, and their on-link
// prefixes, sorted by name.
func uplinks(nl *netlink.Handle, names map[int]string) ([]apply.Uplink, error) {
	links := map[int]*apply.Uplink{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := nlmsg.Retry(func() ([]netlink.Route, error) {
			return nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			for _, index := range outgoing(r) {
				if links[index] == nil {
					links[index] = &apply.Uplink{Name: names[index]}
				}
				learn(links[index], r, family)
			}
		}
	}
	var uplinks []apply.Uplink
	for _, u := range links {
		if (u.IPv4 || u.IPv6) && u.Name != "" && u.Name != "lo" {
			uplinks = append(uplinks, *u)
		}
	}
	slices.SortFunc(uplinks, func(a, b apply.Uplink) int { return cmp.Compare(a.Name, b.Name) })
	return uplinks, nil
}

// learned returns the names of the interfaces with a global IPv6 address that is not
// permanent, as one from router advertisements or DHCPv6.
func learned(nl *netlink.Handle, names map[int]string) (list []string, err error) {
	addrs, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_V6) })
	for _, a := range addrs {
		name := names[a.LinkIndex]
		if a.Flags&unix.IFA_F_PERMANENT == 0 && a.Scope == unix.RT_SCOPE_UNIVERSE && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, err
}

// learn adds what the route says about the uplink.
func learn(u *apply.Uplink, r netlink.Route, family int) {
	if r.Type != unix.RTN_UNICAST {
		return
	}
	prefix, ok := nlmsg.Prefix(r.Dst)
	switch {
	case r.Dst == nil || ok && prefix.Bits() == 0:
		u.IPv4 = u.IPv4 || family == netlink.FAMILY_V4
		u.IPv6 = u.IPv6 || family == netlink.FAMILY_V6
		u.RA = u.RA || r.Protocol == unix.RTPROT_RA
	case ok && r.Gw == nil && !prefix.IsSingleIP() && !prefix.Addr().IsLinkLocalUnicast():
		u.OnLink = append(u.OnLink, prefix)
	}
}

// outgoing returns the interface indexes of a route. Default routes learned from several
// routers are one route with several next hops.
func outgoing(r netlink.Route) []int {
	if r.MultiPath == nil {
		return []int{r.LinkIndex}
	}
	var links []int
	for _, hop := range r.MultiPath {
		links = append(links, hop.LinkIndex)
	}
	return links
}

// ObserveUplinks reads the interfaces with a default route, if the view forwards, and the
// neighbour proxies, if the view or the journal has any.
func ObserveUplinks(nl *netlink.Handle, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	forward := view != nil && view.Forward
	proxied := view != nil && view.Proxies != nil
	for resource := range entries {
		proxied = proxied || resource.Kind == journal.Proxy
	}
	if !forward && !proxied {
		return nil
	}
	links, err := nlmsg.Retry(nl.LinkList)
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
	if s.Learned, err = learned(nl, names); err != nil {
		return err
	}
	if s.Uplinks, err = uplinks(nl, names); err != nil || !proxied {
		return err
	}
	neighbours, err := nlmsg.Retry(proxies)
	for _, n := range neighbours {
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			s.Proxies = append(s.Proxies, apply.Proxy{Link: names[n.LinkIndex], Addr: addr})
		}
	}
	return err
}
