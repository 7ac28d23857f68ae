package interfaces

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// Bridges returns, for each address family, the bridges that have a port and an address of
// that family and are no uplink, in words for the user. Containers and virtual machines are
// attached to such bridges.
func Bridges(nl *netlink.Handle) (v4, v6 []string) {
	links, err := nlmsg.Retry(nl.LinkList)
	if err != nil {
		return nil, nil
	}
	ports := map[int]bool{}
	for _, l := range links {
		ports[l.Attrs().MasterIndex] = true
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	ups, err := uplinks(nl, names)
	if err != nil {
		return nil, nil
	}
	for _, l := range links {
		isUplink := slices.ContainsFunc(ups, func(u apply.Uplink) bool { return u.Name == l.Attrs().Name })
		if l.Type() != "bridge" || !ports[l.Attrs().Index] || isUplink {
			continue
		}
		addrs, _ := nlmsg.Retry(func() ([]netlink.Addr, error) { return nl.AddrList(l, netlink.FAMILY_ALL) })
		has := func(is func(netip.Addr) bool) bool {
			return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
				p, ok := nlmsg.Prefix(a.IPNet)
				return ok && !p.Addr().IsLinkLocalUnicast() && is(p.Addr())
			})
		}
		sign := "the bridge " + l.Attrs().Name
		if has(netip.Addr.Is4) {
			v4 = append(v4, sign)
		}
		if has(netip.Addr.Is6) {
			v6 = append(v6, sign)
		}
	}
	return v4, v6
}
