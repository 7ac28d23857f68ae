package linux_test

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// crowd returns a view with many peers, each with an endpoint, an address and a route. The
// first one has 600 prefixes, more than fit into one message.
func crowd(peers int) *tunnel.View {
	v := &tunnel.View{
		Tunnel: "wg0", Host: "shale", PublicKey: applytest.PublicKey("shale"),
		PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 30567,
	}
	for i := range peers {
		name := "h" + strconv.Itoa(i)
		key := keyring.PublicKey(sha256.Sum256([]byte(name)))
		key[31] &= 0x7f // below 2^255, which is canonical (RFC 7748)
		v.Peers = append(v.Peers, tunnel.Peer{
			Name: name, PublicKey: key, Endpoint: "198.51.100.1:" + strconv.Itoa(i+1024),
			AllowedIPs: []netip.Prefix{inside(1, i)},
		})
		v.Routes = append(v.Routes, tunnel.Route{Prefix: inside(1, i), Peer: name})
	}
	for i := range 599 {
		v.Peers[0].AllowedIPs = append(v.Peers[0].AllowedIPs, inside(2, i))
	}
	return v
}

func inside(net byte, i int) netip.Prefix {
	addr := netip.MustParseAddr("2001:db8:7767::").As16()
	addr[7] = net
	binary.BigEndian.PutUint32(addr[12:], uint32(i+1))
	return netip.PrefixFrom(netip.AddrFrom16(addr), 128)
}

// Changes that do not fit into one message have the same result as those that do: each peer
// gives its prefix to the next, and one loses more than fits into a message.
func TestManyMessages(t *testing.T) {
	h := newHost(t)
	before, after := crowd(100), crowd(100)
	kept := after.Peers[0].AllowedIPs[301:]
	for i := range after.Peers {
		after.Peers[i].AllowedIPs = []netip.Prefix{inside(1, (i+1)%100)}
		after.Routes[(i+1)%100].Peer = after.Peers[i].Name
	}
	after.Peers[0].AllowedIPs = slices.Concat(after.Peers[0].AllowedIPs, kept)
	for _, v := range []*tunnel.View{before, after, before} {
		if plan := h.apply(t, v); len(plan.Steps) < 100 {
			t.Errorf("the plan has only the steps\n%s", spelled(plan))
		}
		if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
			t.Errorf("the second plan is not empty:\n%s", spelled(plan))
		}
	}
	h.down(t)
}

// BenchmarkManyPeers measures the work within the process, for a profiler. cmd/wgkeys
// compares the program with wg(8) and wg-quick(8).
func BenchmarkManyPeers(b *testing.B) {
	v := crowd(10_000)
	b.Run("cold", func(b *testing.B) {
		h := newHost(b)
		for b.Loop() {
			h.apply(b, v)
			b.StopTimer()
			h.down(b)
			b.StartTimer()
		}
	})
	b.Run("nothing to do", func(b *testing.B) {
		h := newHost(b)
		h.apply(b, v)
		for b.Loop() {
			if plan, _ := h.plan(b, v); len(plan.Steps) > 0 {
				b.Fatalf("the second plan is not empty: %s", plan.Steps[0].Change)
			}
		}
	})
	b.Run("one peer", func(b *testing.B) {
		h := newHost(b)
		h.apply(b, v)
		for b.Loop() {
			v.Peers[7].Keepalive = 25 - v.Peers[7].Keepalive
			if plan := h.apply(b, v); len(plan.Steps) != 1 {
				b.Fatalf("a change of one peer takes %d steps", len(plan.Steps))
			}
		}
	})
}
