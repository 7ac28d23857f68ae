package wg

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// A peer is made with all its settings in the first message, no message is large enough for
// wgctrl to split it, and every prefix moves before the handshake starts.
func TestReplacing(t *testing.T) {
	to, psk := wgtypes.Key{1}, wgtypes.Key{2}
	endpoint, heardFrom := &net.UDPAddr{Port: 1}, &net.UDPAddr{Port: 2}
	prefixes := func(from, n int) (all []net.IPNet) {
		for i := range n {
			all = append(all, net.IPNet{IP: net.IPv4(10, byte((from+i)>>8), byte(from+i), 0), Mask: net.CIDRMask(24, 32)})
		}
		return all
	}
	for _, c := range []struct{ old, heard, messages int }{
		{0, 0, 1}, {1, 0, 1}, {256, 0, 1}, {257, 0, 4}, {1000, 0, 6}, {256, 1, 3}, {10, 400, 3},
	} {
		t.Run(fmt.Sprintf("%d and %d", c.old, c.heard), func(t *testing.T) {
			old := &wgtypes.Peer{PresharedKey: psk, Endpoint: endpoint, PersistentKeepaliveInterval: time.Minute,
				AllowedIPs: prefixes(0, c.old)}
			heard := &wgtypes.Peer{Endpoint: heardFrom, AllowedIPs: prefixes(c.old, c.heard)}
			messages := replacing(to, old, heard)
			if len(messages) != c.messages {
				t.Errorf("%d messages, want %d", len(messages), c.messages)
			}
			inParts := len(messages) > 1 && c.heard > 0
			k := replacedPeer{moved: map[string]int{}, kept: inParts}
			for _, m := range messages {
				n := 0
				for _, p := range m {
					n += len(p.AllowedIPs)
					k.take(t, p)
				}
				if n > mostPrefixes || len(m) > 32 {
					t.Errorf("%d prefixes of %d peers in one message", n, len(m))
				}
			}
			made := k.psk == psk && k.endpoint == heardFrom
			if len(k.moved) != c.old+c.heard || !k.begun || made == inParts {
				t.Errorf("%d of %d prefixes; made %v, begun %v", len(k.moved), c.old+c.heard, made, k.begun)
			}
		})
	}
}

// A replacedPeer is the state of a peer in the kernel after some messages.
type replacedPeer struct {
	kept     bool // the peer was there before, and must be kept
	moved    map[string]int
	psk      wgtypes.Key  // the preshared key of the message that made it
	endpoint *net.UDPAddr // the endpoint of that message
	begun    bool         // the handshake has started
}

func (k *replacedPeer) take(t *testing.T, p wgtypes.PeerConfig) {
	if p.Remove && k.kept {
		t.Error("what the peer has already is forgotten")
	}
	if p.PresharedKey != nil {
		k.psk, k.endpoint = *p.PresharedKey, p.Endpoint
	}
	for _, prefix := range p.AllowedIPs {
		k.moved[prefix.String()]++
		if k.begun {
			t.Error("a prefix moves after the handshake began")
		}
	}
	if i := p.PersistentKeepaliveInterval; i != nil {
		k.begun = *i == keepalive || k.begun && *i == time.Minute
	}
}
