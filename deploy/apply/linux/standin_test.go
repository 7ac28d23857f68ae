package linux_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// Packets to an address arrive as soon as its stand-in is there: the next thing to happen is
// that another program removes the address itself.
func TestStandInsCanBeUsed(t *testing.T) {
	h := newHost(t)
	was, prefix := new(apply.Adopted), netip.MustParsePrefix("2001:db8:7767::/64")
	for addr := prefix.Addr().Next(); len(was.Addresses) < 100; addr = addr.Next() {
		was.Addresses = append(was.Addresses, apply.Address{Prefix: netip.PrefixFrom(addr, prefix.Bits())})
	}
	for range 5 {
		must(t, h.StandIn(t.Context(), "eth0", was))
		// An address without its local route gets nothing, whatever its flags are.
		local := 0
		routes, err := netlink.RouteListFiltered(unix.AF_INET6, &netlink.Route{Table: unix.RT_TABLE_LOCAL},
			netlink.RT_FILTER_TABLE)
		must(t, err)
		for _, r := range routes {
			if r.Dst != nil && prefix.Contains(netip.AddrFrom16([16]byte(r.Dst.IP.To16()))) {
				local++
			}
		}
		if local != len(was.Addresses) {
			t.Errorf("packets arrive at %d of %d stand-ins", local, len(was.Addresses))
		}
		must(t, h.EndStandIn("eth0", was))
		if left := run(t, "ip", "-6", "address", "show", "dev", "lo", "scope", "global"); left != "" {
			t.Errorf("left: %s", left)
		}
	}
}
