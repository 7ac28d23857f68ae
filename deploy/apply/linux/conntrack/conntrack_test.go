package conntrack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	nl "github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
)

// TestOpenSessions: entries are made for open connections to ports that listen here, of the
// policy-routed families, and for none to INSIDE addresses.
func TestOpenSessions(t *testing.T) {
	socket := func(state uint8, here, there string) *nl.Socket {
		from, to := netip.MustParseAddrPort(here), netip.MustParseAddrPort(there)
		return &nl.Socket{State: state, ID: nl.SocketID{Source: from.Addr().AsSlice(), SourcePort: from.Port(),
			Destination: to.Addr().AsSlice(), DestinationPort: to.Port()}}
	}
	sockets := []*nl.Socket{
		socket(tcpEstablished, "192.0.2.1:22", "198.51.100.1:5000"),
		socket(tcpCloseWait, "[::ffff:192.0.2.1]:22", "[::ffff:198.51.100.2]:5000"), // of a dual-stack socket
		socket(tcpEstablished, "[2001:db8::1]:22", "[2001:db8::2]:5000"),
		socket(tcpListen, "[::]:22", "[::]:0"), // after the connections to it
		socket(2, "192.0.2.1:22", "198.51.100.3:5000"),
		socket(tcpEstablished, "192.0.2.1:40000", "198.51.100.1:22"), // this host is the client
		socket(tcpEstablished, "127.0.0.1:22", "127.0.0.1:5000"),
		socket(tcpEstablished, "10.77.0.1:22", "10.77.0.2:5000"),
	}
	four := []session{
		{netip.MustParseAddrPort("198.51.100.1:5000"), netip.MustParseAddrPort("192.0.2.1:22")},
		{netip.MustParseAddrPort("198.51.100.2:5000"), netip.MustParseAddrPort("192.0.2.1:22")},
	}
	six := []session{{netip.MustParseAddrPort("[2001:db8::2]:5000"), netip.MustParseAddrPort("[2001:db8::1]:22")}}
	inside := []netip.Addr{netip.MustParseAddr("10.77.0.1")}
	for name, tt := range map[string]struct {
		filter apply.Filter
		want   []session
	}{
		"IPv4": {apply.Filter{IPv4: true, Guard: inside}, four},
		"IPv6": {apply.Filter{IPv6: true, Guard: inside}, six},
		"both": {apply.Filter{IPv4: true, IPv6: true, Guard: inside}, slices.Concat(four, six)},
		"none": {apply.Filter{}, nil},
	} {
		if got := openSessions(sockets, &tt.filter); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestRememberMessage: the reply direction is reversed, and all numbers are in network byte
// order.
func TestRememberMessage(t *testing.T) {
	for _, s := range []session{
		{netip.MustParseAddrPort("198.51.100.1:5000"), netip.MustParseAddrPort("192.0.2.1:22")},
		{netip.MustParseAddrPort("[2001:db8::2]:5000"), netip.MustParseAddrPort("[2001:db8::1]:22")},
	} {
		d, err := netlink.NewAttributeDecoder(rememberMessage(s).Data[4:])
		if err != nil {
			t.Fatal(err)
		}
		found := map[uint16]session{}
		for d.ByteOrder = binary.BigEndian; d.Next(); {
			if kind := d.Type(); kind == ctaTupleOrig || kind == ctaTupleReply {
				d.Nested(func(d *netlink.AttributeDecoder) error {
					found[kind] = readTuple(d, s.client.Addr().Is6())
					return nil
				})
			}
		}
		if err := d.Err(); err != nil {
			t.Fatal(err)
		}
		if back := (session{s.server, s.client}); found[ctaTupleOrig] != s || found[ctaTupleReply] != back {
			t.Errorf("%v: %v", s, found)
		}
	}
}

// readTuple parses CTA_TUPLE_IP and CTA_TUPLE_PROTO.
func readTuple(d *netlink.AttributeDecoder, ipv6 bool) session {
	var addrs [2]netip.Addr
	var ports [2]uint16
	first := map[bool]uint16{false: 1, true: 3}[ipv6] // CTA_IP_V4_SRC, CTA_IP_V6_SRC
	for d.Next() {
		of := d.Type()
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.ByteOrder = binary.BigEndian; d.Next(); {
				switch kind := d.Type(); {
				case of == ctaTupleIP && (kind == first || kind == first+1):
					addrs[kind-first], _ = netip.AddrFromSlice(d.Bytes())
				case of == ctaTupleProto && (kind == ctaSrcPort || kind == ctaDstPort):
					ports[kind-ctaSrcPort] = d.Uint16()
				}
			}
			return nil
		})
	}
	return session{netip.AddrPortFrom(addrs[0], ports[0]), netip.AddrPortFrom(addrs[1], ports[1])}
}
