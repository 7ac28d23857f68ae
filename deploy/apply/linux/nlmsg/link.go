package nlmsg

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Unspecified returns the unspecified address of a family: 0.0.0.0 or ::.
func Unspecified(family int) netip.Addr {
	if family == netlink.FAMILY_V4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// KindOf returns the kind of a tunnel's link, "wireguard" or, for a device in user space,
// "tun"; "" for any other link.
func KindOf(link netlink.Link) string {
	switch link.Type() {
	case "wireguard":
		return "wireguard"
	case "tun", "tuntap":
		return "tun"
	}
	return ""
}
