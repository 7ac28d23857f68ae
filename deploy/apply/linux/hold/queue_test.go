package hold

import (
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
)

// The kernel sends the length of a packet that it copies in part.
func TestLength(t *testing.T) {
	header := make([]byte, 4)
	whole, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: make([]byte, 7)}})
	if err != nil {
		t.Fatal(err)
	}
	cut, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 10, Data: []byte{0x60}},
		{Type: nfqaCapLen, Data: []byte{0, 0, 0x32, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	for want, message := range map[int][]byte{1: slices.Concat(header, whole), 12_800: slices.Concat(header, cut)} {
		if got := length(message); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
	for _, message := range [][]byte{nil, {1}, header, append(header, 9, 9, 9)} {
		if got := length(message); got != 1 {
			t.Errorf("%d bytes of rubbish", got)
		}
	}
}
