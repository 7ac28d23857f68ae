package interfaces

import (
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

func network(text string) *net.IPNet {
	_, n, err := net.ParseCIDR(text)
	if err != nil {
		panic(err)
	}
	return n
}

// TestLearn: a default route makes an uplink, and a network that is reached there without a
// router is on-link, except for single addresses and link-local ones.
func TestLearn(t *testing.T) {
	var u apply.Uplink
	router := net.ParseIP("fe80::1")
	for _, r := range []netlink.Route{
		{Dst: network("2001:db8:1::/64"), Type: unix.RTN_UNICAST},
		{Dst: network("2001:db8:2::/64"), Type: unix.RTN_UNICAST, Gw: router},
		{Dst: network("2001:db8:3::1/128"), Type: unix.RTN_UNICAST},
		{Dst: network("fe80::/64"), Type: unix.RTN_UNICAST},
		{Dst: network("2001:db8:4::/64"), Type: unix.RTN_UNREACHABLE},
		{Dst: network("::/0"), Type: unix.RTN_UNREACHABLE, Protocol: unix.RTPROT_RA},
	} {
		learn(&u, r, netlink.FAMILY_V6)
	}
	if u.IPv4 || u.IPv6 || u.RA || len(u.OnLink) != 1 || u.OnLink[0].String() != "2001:db8:1::/64" {
		t.Errorf("without a default route: %+v", u)
	}
	learn(&u, netlink.Route{Type: unix.RTN_UNICAST, Gw: router, Protocol: unix.RTPROT_RA}, netlink.FAMILY_V6)
	if u.IPv4 || !u.IPv6 || !u.RA {
		t.Errorf("with one of an advertisement: %+v", u)
	}
	learn(&u, netlink.Route{Dst: network("0.0.0.0/0"), Type: unix.RTN_UNICAST}, netlink.FAMILY_V4)
	if !u.IPv4 || !u.IPv6 || !u.RA {
		t.Errorf("with one of either family: %+v", u)
	}
}

// TestLearnRouted: an interface is routed if it has a route through a gateway or a default
// route.
func TestLearnRouted(t *testing.T) {
	oif := nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(1)).Serialize()
	by := nl.NewRtAttr(unix.RTA_GATEWAY, []byte{192, 0, 2, 1}).Serialize()
	via := nl.NewRtAttr(unix.RTA_VIA, make([]byte, 18)).Serialize()
	var hops []byte
	for _, index := range []uint32{4, 5} {
		hops = binary.NativeEndian.AppendUint16(hops, uint16(unix.SizeofRtNexthop+len(by)))
		hops = append(binary.NativeEndian.AppendUint32(append(hops, 0, 0), index), by...)
	}
	multi := func(hops []byte) []byte { return nl.NewRtAttr(unix.RTA_MULTIPATH, hops).Serialize() }
	for name, tt := range map[string]struct {
		kind, bits uint8
		attrs      []byte
		want       []int
	}{
		"a network":             {unix.RTN_UNICAST, 24, oif, nil},
		"a router":              {unix.RTN_UNICAST, 24, append(oif, by...), []int{1}},
		"a router of IPv6":      {unix.RTN_UNICAST, 24, append(via, oif...), []int{1}},
		"everything":            {unix.RTN_UNICAST, 0, oif, []int{1}},
		"nothing":               {unix.RTN_UNREACHABLE, 0, oif, nil},
		"several":               {unix.RTN_UNICAST, 24, multi(hops), []int{4, 5}},
		"a hop that is cut off": {unix.RTN_UNICAST, 24, multi(hops[:len(hops)-1]), []int{4, 5}},
		"no interface":          {unix.RTN_UNICAST, 0, by, nil},
	} {
		routed := map[int]bool{}
		learnRouted(routed, &nl.RtMsg{RtMsg: unix.RtMsg{Type: tt.kind, Dst_len: tt.bits}}, tt.attrs)
		if got := slices.Sorted(maps.Keys(routed)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestWithNetwork: a single address and a link-local one are not a network.
func TestWithNetwork(t *testing.T) {
	at := func(link int, text string) netlink.Addr {
		ip, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Addr{LinkIndex: link, IPNet: &net.IPNet{IP: ip, Mask: n.Mask}}
	}
	got := withNetwork([]netlink.Addr{at(1, "10.0.0.1/32"), at(2, "fe80::1/64"), at(3, "172.17.0.1/16"),
		at(3, "10.0.0.2/32"), at(4, "2001:db8::1/64")})
	want := map[int]bool{1: false, 2: false, 3: true, 4: true}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
