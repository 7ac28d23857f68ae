package interfaces

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// SetProxy makes a change of a proxy neighbour on an uplink.
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
