package nlmsg

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// attribute returns an attribute as the kernel writes it, without the padding after it.
func attribute(kind uint16, value string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	return append(binary.NativeEndian.AppendUint16(b, kind), value...)
}

// TestAttributes: attributes begin at multiples of four. One that is cut off, or whose
// length is less than its header's, ends the sequence.
func TestAttributes(t *testing.T) {
	five := append(attribute(1, "hello"), 0, 0, 0) // filled up to 12
	for _, tt := range []struct {
		text []byte
		want string
	}{
		{nil, ""},
		{append(five, attribute(2, "x")...), "1:hello 2:x "},
		{attribute(1, "hello"), "1:hello "}, // the last one may lack what fills it up
		{attribute(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER|3, ""), "3: "},
		{append(attribute(1, "four"), attribute(2, "cut off")[:10]...), "1:four "},
		{append(attribute(1, "four"), 4), "1:four "},
		{append(attribute(1, "four"), 0, 0, 2, 0, 1, 2, 3, 4), "1:four "},
		{append(attribute(1, "four"), 3, 0, 2, 0, 1, 2, 3, 4), "1:four "},
	} {
		got := ""
		for kind, value := range Attributes(tt.text) {
			got += fmt.Sprintf("%d:%s ", kind, value)
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
	for range Attributes(append(five, attribute(2, "x")...)) {
		break // or it panics
	}
}

func TestPrefix(t *testing.T) {
	mask := net.CIDRMask
	for _, tt := range []struct {
		n    *net.IPNet
		want string // "": none
	}{
		{nil, ""},
		{&net.IPNet{IP: net.IP{10, 0, 0, 1}, Mask: mask(8, 32)}, "10.0.0.1/8"},
		{&net.IPNet{IP: net.ParseIP("10.0.0.1"), Mask: mask(8, 32)}, "10.0.0.1/8"}, // 16 bytes
		{&net.IPNet{IP: net.ParseIP("::ffff:10.0.0.1"), Mask: mask(104, 128)}, "::ffff:10.0.0.1/104"},
		{&net.IPNet{IP: net.ParseIP("2001:db8::1"), Mask: mask(0, 128)}, "2001:db8::1/0"},
		{&net.IPNet{IP: net.IP{10, 0, 0, 1}, Mask: net.IPMask{255, 0, 255, 0}}, ""},
		{&net.IPNet{IP: net.ParseIP("2001:db8::1"), Mask: mask(8, 32)}, ""},
		{&net.IPNet{Mask: mask(8, 32)}, ""},
	} {
		p, ok := Prefix(tt.n)
		if ok != (tt.want != "") || ok && p.String() != tt.want {
			t.Errorf("%v: %s, %t, want %s", tt.n, p, ok, tt.want)
		}
	}
	for _, text := range []string{"0.0.0.0/0", "10.0.0.1/8", "::/0", "2001:db8::1/128", "::ffff:10.0.0.1/128"} {
		if p, ok := Prefix(IPNet(netip.MustParsePrefix(text))); !ok || p.String() != text {
			t.Errorf("%s comes back as %s, %t", text, p, ok)
		}
	}
}
