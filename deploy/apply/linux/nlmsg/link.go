package nlmsg

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Unspecified is the address of a family that stands for any.
func Unspecified(family int) netip.Addr {
	if family == netlink.FAMILY_V4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// KindOf tells a tunnel's link from others: "wireguard", or "tun" for a device
// in user space.
func KindOf(link netlink.Link) string {
	switch link.Type() {
	case "wireguard":
		return "wireguard"
	case "tun", "tuntap":
		return "tun"
	}
	return ""
}
