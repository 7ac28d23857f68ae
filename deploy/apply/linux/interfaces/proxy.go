package interfaces

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// A neighbourHeader is a struct ndmsg (linux/neighbour.h). The library's own type,
// netlink.Ndmsg, sends its three bytes of padding after family uninitialised, and a kernel
// that checks strictly refuses those that are not zero (neigh_valid_dump_req in
// net/core/neighbour.c).
type neighbourHeader struct{ family, flags uint8 }

// Len implements [nl.NetlinkRequestData].
func (neighbourHeader) Len() int { return 12 }

// Serialize implements [nl.NetlinkRequestData].
func (h neighbourHeader) Serialize() []byte {
	return []byte{h.family, 0, 0, 0, 0, 0, 0, 0, 0, 0, h.flags, 0}
}

// proxies returns the IPv6 addresses for which this host answers neighbour solicitations.
func proxies() (found []netlink.Neigh, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.AddData(neighbourHeader{netlink.FAMILY_V6, netlink.NTF_PROXY})
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH, func(b []byte) bool {
		n, bad := netlink.NeighDeserialize(b)
		if bad == nil && n.Family == netlink.FAMILY_V6 && n.Flags&netlink.NTF_PROXY != 0 {
			found = append(found, *n)
		}
		return bad == nil
	})
	return found, err
}

// Proxied returns the addresses that interfaces answer for, each as often as there are
// interfaces that do.
func Proxied() (addrs []netip.Addr, err error) {
	neighbours, err := nlmsg.Retry(proxies)
	for _, n := range neighbours {
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs, err
}

// SetProxy adds or removes a neighbour proxy entry on an uplink. It is no error if it is
// there, or gone, already.
func SetProxy(nl *netlink.Handle, link netlink.Link, c apply.ProxyChange) error {
	n := &netlink.Neigh{
		LinkIndex: link.Attrs().Index,
		Family:    netlink.FAMILY_V6,
		Flags:     netlink.NTF_PROXY,
		IP:        c.Proxy.Addr.AsSlice(),
	}
	if c.Add {
		return nlmsg.Ignore(nlmsg.Try(nl, func(h *netlink.Handle) error { return h.NeighAdd(n) }), unix.EEXIST)
	}
	return nlmsg.Ignore(nlmsg.Try(nl, func(h *netlink.Handle) error { return h.NeighDel(n) }), unix.ENOENT)
}
