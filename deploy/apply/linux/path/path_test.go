package path

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// hop returns a struct rtnexthop with an attribute.
func hop(index uint32) []byte {
	gateway := nl.NewRtAttr(unix.RTA_GATEWAY, []byte{192, 0, 2, 1}).Serialize()
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(gateway)))
	return append(binary.NativeEndian.AppendUint32(append(b, 0, 0), index), gateway...)
}

// TestPathOf: of several next hops the narrowest counts, by the MTU of the answer's family,
// and the MTU of the route itself if that is less.
func TestPathOf(t *testing.T) {
	links := map[int]pathLink{ // 3 is the tunnel: no path
		1: {name: "eth0", mtu4: 1500, mtu6: 1480},
		2: {name: "ppp0", mtu4: 1492, mtu6: 1492},
	}
	answer := func(family byte, attrs ...*nl.RtAttr) []byte {
		b := make([]byte, unix.SizeofRtMsg)
		b[0] = family
		for _, a := range attrs {
			b = append(b, a.Serialize()...)
		}
		return b
	}
	oif := func(index uint32) *nl.RtAttr { return nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(index)) }
	hops := nl.NewRtAttr(unix.RTA_MULTIPATH, append(append(hop(1), hop(3)...), hop(2)...))
	mtu := func(n uint32) *nl.RtAttr {
		metrics := nl.NewRtAttr(unix.RTA_METRICS, nil)
		metrics.AddRtAttr(unix.RTAX_MTU, nl.Uint32Attr(n))
		return metrics
	}
	cut := nl.NewRtAttr(unix.RTA_MULTIPATH, append(hop(1), hop(2)[:6]...))
	zero := nl.NewRtAttr(unix.RTA_MULTIPATH, append(make([]byte, unix.SizeofRtNexthop), hop(2)...))
	for name, tt := range map[string]struct {
		answer []byte
		want   apply.Path
	}{
		"IPv4":                     {answer(unix.AF_INET, oif(1)), apply.Path{Link: "eth0", MTU: 1500}},
		"IPv6":                     {answer(unix.AF_INET6, oif(1)), apply.Path{Link: "eth0", MTU: 1480}},
		"the tunnel":               {answer(unix.AF_INET, oif(3)), apply.Path{}},
		"a narrow route":           {answer(unix.AF_INET, oif(1), mtu(1400)), apply.Path{Link: "eth0", MTU: 1400}},
		"a wide route":             {answer(unix.AF_INET, oif(1), mtu(9000)), apply.Path{Link: "eth0", MTU: 1500}},
		"several hops":             {answer(unix.AF_INET, hops), apply.Path{Link: "ppp0", MTU: 1492}},
		"several hops of IPv6":     {answer(unix.AF_INET6, hops), apply.Path{Link: "eth0", MTU: 1480}},
		"a hop that is cut off":    {answer(unix.AF_INET, cut), apply.Path{Link: "eth0", MTU: 1500}},
		"a hop without its length": {answer(unix.AF_INET, zero), apply.Path{Link: "ppp0", MTU: 1492}},
		"no answer":                {[]byte{unix.AF_INET}, apply.Path{}},
	} {
		if got := pathOf(tt.answer, links); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		if got, want := leadsTo(tt.answer, 3), name == "the tunnel"; got != want {
			t.Errorf("%s: it leads to link 3: %t, want %t", name, got, want)
		}
	}
}

// TestMTU6: the MTU is the third of the numbers, and 0 without IPv6.
func TestMTU6(t *testing.T) {
	families := func(family int, words int) []byte {
		conf := make([]byte, 4*words)
		for i := range words {
			binary.NativeEndian.PutUint32(conf[4*i:], uint32(1280+i))
		}
		of := nl.NewRtAttr(family, nil)
		of.AddRtAttr(unix.IFLA_INET6_CONF, conf)
		return of.Serialize()
	}
	for name, tt := range map[string]struct {
		families []byte
		want     int
	}{
		"all":       {append(families(unix.AF_INET, 40), families(unix.AF_INET6, 40)...), 1282},
		"just":      {families(unix.AF_INET6, 3), 1282},
		"too few":   {families(unix.AF_INET6, 2), 0},
		"IPv4 only": {families(unix.AF_INET, 40), 0},
	} {
		if got := mtu6(tt.families); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestCarrierOf: of the kernel's other tunnels it is known where they send, and with what mark.
func TestCarrierOf(t *testing.T) {
	info := func(kind string, remote int, addr string, mark uint32) []byte {
		of := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		of.AddRtAttr(unix.IFLA_INFO_KIND, nl.ZeroTerminated(kind))
		data := of.AddRtAttr(unix.IFLA_INFO_DATA, nil)
		data.AddRtAttr(remote, netip.MustParseAddr(addr).AsSlice())
		data.AddRtAttr(20, nl.Uint32Attr(mark))
		return of.Serialize()[unix.SizeofRtAttr:]
	}
	for _, c := range []struct {
		kind   string
		remote int
		addr   string
		want   string
	}{
		{"sit", 3, "216.66.80.26", "216.66.80.26:0"}, {"ip6tnl", 3, "2001:db8::1", "[2001:db8::1]:0"},
		{"gre", 7, "192.0.2.9", "192.0.2.9:0"}, {"sit", 3, "0.0.0.0", "invalid AddrPort"},
		{"vxlan", 3, "192.0.2.9", "invalid AddrPort"}, {"sit", 4, "192.0.2.9", "invalid AddrPort"},
	} {
		kind, hop := linkInfo(info(c.kind, c.remote, c.addr, 7))
		if kind != c.kind || hop.To.String() != c.want || c.want[0] != 'i' && hop.Mark != 7 {
			t.Errorf("%s to %s: %s, %+v, want %s", c.kind, c.addr, kind, hop, c.want)
		}
	}
}
