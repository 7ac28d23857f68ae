package tunnel

import (
	"fmt"
	"net/netip"
	"strings"
)

// An address is a host's own, INSIDE, with the length of its network. A point-to-point one
// is a single address with a far end, and the length belongs to the far end (ip-address(8),
// "peer").
type address struct {
	netip.Prefix
	remote netip.Prefix // the zero Prefix: none
}

func (a address) String() string {
	if a.remote.IsValid() {
		return spellPointToPoint(a.Addr(), a.remote)
	}
	return a.Prefix.String()
}

func spellPointToPoint(local netip.Addr, remote netip.Prefix) string {
	return local.String() + " peer " + remote.String()
}

// networks yields the prefixes for which the kernel may make a route with the address.
func (a address) networks(yield func(netip.Prefix) bool) {
	if yield(networkOf(a.Prefix, a.remote)) && a.remote.IsValid() && a.Addr().Is6() {
		yield(single(a.remote.Addr()))
	}
}

// networkOf is the prefix for which the kernel makes a route with an address. With a far
// end that is its network for IPv4 (fib_add_ifaddr), and for IPv6 the one around the
// address itself (addrconf_prefix_route). IPv6's route to the far end (__ipv6_ifa_notify)
// is not reliable: it goes when the link goes down, and does not come back with it
// (fixup_permanent_addr).
func networkOf(own, remote netip.Prefix) netip.Prefix {
	switch {
	case !remote.IsValid():
		return own.Masked()
	case own.Addr().Is4():
		return remote.Masked()
	}
	near, _ := own.Addr().Prefix(remote.Bits())
	return near
}

// Networks returns the prefixes that are connected by v's addresses: the kernel makes a
// route into the tunnel for each.
func (v *View) Networks() []netip.Prefix {
	networks := make([]netip.Prefix, 0, len(v.Addresses))
	for _, a := range v.Addresses {
		networks = append(networks, v.NetworkOf(a))
	}
	return networks
}

// NetworkOf returns the prefix that is connected by the address a of v.
func (v *View) NetworkOf(a netip.Prefix) netip.Prefix { return networkOf(a, v.Remotes[a.Addr()]) }

// parseAddress parses an address of a host, with its prefix or its far end.
func parseAddress(s string) (address, error) {
	local, remote, far := strings.Cut(s, " peer ")
	if !far {
		p, err := parsePrefix(s)
		if err != nil {
			return address{}, err
		}
		return address{Prefix: p}, checkAddress(p)
	}
	if local = strings.TrimSpace(local); strings.Contains(local, "/") {
		return address{}, fmt.Errorf("%s: the length is that of the far end: write ADDRESS peer ADDRESS/LENGTH", shown(s))
	}
	own, err := parsePrefix(local)
	if err != nil {
		return address{}, err
	}
	to, err := parsePrefix(strings.TrimSpace(remote))
	if err != nil {
		return address{}, err
	}
	if err := checkAddress(own); err != nil {
		return address{}, err
	}
	return address{own, to}, checkRemote(own.Addr(), to)
}

// checkRemote returns why remote cannot be the far end of an address.
func checkRemote(local netip.Addr, remote netip.Prefix) error {
	if err := checkAddress(remote); err != nil {
		return err
	}
	switch {
	case local.Is4() != remote.Addr().Is4():
		return fmt.Errorf("%s has a far end of the other family: %s", local, remote)
	case local == remote.Addr():
		return fmt.Errorf("%s is its own far end: write %s", local, remote)
	}
	return nil
}
