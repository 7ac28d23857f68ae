package route

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// A message is a route as the kernel sends it.
type message struct {
	family, bits, table uint8
	attrs               map[int][]byte
}

func (m message) read() (apply.Route, int) {
	var attrs []byte
	for kind, value := range m.attrs {
		attrs = append(attrs, nl.NewRtAttr(kind, value).Serialize()...)
	}
	return routeOf(&nl.RtMsg{RtMsg: unix.RtMsg{Family: m.family, Dst_len: m.bits, Table: m.table}}, attrs)
}

// TestRouteOf: the kernel's defaults become zero. They differ between the families.
func TestRouteOf(t *testing.T) {
	addr := func(text string) []byte { return netip.MustParseAddr(text).AsSlice() }
	word := nl.Uint32Attr
	for name, tt := range map[string]struct {
		message
		want apply.Route
		link int
	}{
		"default": {message{unix.AF_INET, 0, unix.RT_TABLE_MAIN,
			map[int][]byte{unix.RTA_GATEWAY: addr("192.0.2.1"), unix.RTA_OIF: word(7)}},
			apply.Route{Prefix: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.1")}, 7},
		"default of IPv6": {message{unix.AF_INET6, 0, unix.RT_TABLE_MAIN,
			map[int][]byte{unix.RTA_PRIORITY: word(1024), unix.RTA_OIF: word(7)}},
			apply.Route{Prefix: prefix("::/0")}, 7},
		"the metric 1024 of IPv4": {message{unix.AF_INET, 8, unix.RT_TABLE_MAIN,
			map[int][]byte{unix.RTA_PRIORITY: word(1024), unix.RTA_DST: addr("10.0.0.0")}},
			apply.Route{Prefix: prefix("10.0.0.0/8"), Metric: 1024}, 0},
		"a table above 255": {message{unix.AF_INET6, 32, unix.RT_TABLE_COMPAT,
			map[int][]byte{unix.RTA_TABLE: word(30567), unix.RTA_DST: addr("2001:db8::"), unix.RTA_PRIORITY: word(5)}},
			apply.Route{Prefix: prefix("2001:db8::/32"), Table: 30567, Metric: 5}, 0},
		"the main table by its attribute": {message{unix.AF_INET, 8, unix.RT_TABLE_COMPAT,
			map[int][]byte{unix.RTA_TABLE: word(unix.RT_TABLE_MAIN), unix.RTA_DST: addr("10.0.0.0")}},
			apply.Route{Prefix: prefix("10.0.0.0/8")}, 0},
	} {
		if got, link := tt.read(); got != tt.want || link != tt.link {
			t.Errorf("%s: %+v by %d, want %+v by %d", name, got, link, tt.want, tt.link)
		}
	}
}

func TestMTU(t *testing.T) {
	metrics := nl.NewRtAttr(unix.RTA_METRICS, nil)
	metrics.AddRtAttr(unix.RTAX_RTT, nl.Uint32Attr(9))
	metrics.AddRtAttr(unix.RTAX_MTU, nl.Uint32Attr(1400))
	source := nl.NewRtAttr(unix.RTA_SRC, nl.Uint32Attr(1200)) // which has the number of RTAX_MTU
	if got := MTU(append(source.Serialize(), metrics.Serialize()...)); got != 1400 {
		t.Errorf("it is %d", got)
	}
	if got := MTU(source.Serialize()); got != 0 {
		t.Errorf("without one it is %d", got)
	}
}

// TestRanges: a single address is not a range. A prefix lies within itself and within wider
// ones of its own family.
func TestRanges(t *testing.T) {
	r := rangesOf(&tunnel.View{
		Addresses: []netip.Prefix{prefix("10.1.2.3/24"), prefix("2001:db8::1/128")},
		Routes:    []tunnel.Route{{Prefix: prefix("2001:db8:7767::/48")}, {Prefix: prefix("192.0.2.1/32")}},
	})
	for text, want := range map[string]bool{
		"10.1.2.0/24": true, "10.1.2.9/32": true, "10.1.2.0/23": false, "10.1.3.0/24": false,
		"2001:db8:7767::/48": true, "2001:db8:7767:1::/64": true, "2001:db8::/32": false,
		"2001:db8::1/128": false, "192.0.2.1/32": false, "::ffff:10.1.2.9/128": false,
	} {
		if got := r.contain(prefix(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// TestMissing: lost routes are added in an order in which gateways are reachable.
func TestMissing(t *testing.T) {
	network, far := apply.Route{Prefix: prefix("10.0.0.0/8")}, apply.Route{Prefix: prefix("10.0.0.0/8"), Metric: 7}
	by := apply.Route{Prefix: prefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}
	direct, gateway := missing([]apply.Route{by, network, far}, []apply.Route{far})
	if !slices.Equal(direct, []apply.Route{network}) || !slices.Equal(gateway, []apply.Route{by}) {
		t.Errorf("%v, then %v", direct, gateway)
	}
}

// TestConcerns: routes of others matter if they are a prefix of the view or part of one.
func TestConcerns(t *testing.T) {
	b := new(Table).newBesides(&tunnel.View{
		Addresses: []netip.Prefix{prefix("10.1.2.3/24"), prefix("10.9.9.9/32")},
		Routes:    []tunnel.Route{{Prefix: prefix("::/0")}},
	})
	for text, want := range map[string]bool{
		"10.1.2.0/24": true, "10.1.2.128/25": true, "10.1.0.0/16": false, "10.9.9.9/32": false, "0.0.0.0/0": false,
		"::/0": true, "2001:db8::/32": true,
	} {
		if got := b.concerns(prefix(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
