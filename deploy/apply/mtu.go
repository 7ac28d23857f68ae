package apply

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// DefaultMTU is what WireGuard gives a link by itself: an Ethernet frame less
// the longest outer headers (wg_setup in the kernel's device.c). No tunnel is
// given more unless its file says so: what lies behind the first router nobody
// here knows, and that is seldom wider than Ethernet.
const DefaultMTU = 1420

// What a link has to carry: IPv6 (RFC 8200, section 5), or IPv4 in one piece
// (RFC 791: hosts accept so much).
const (
	minMTU6 = 1280
	minMTU4 = 576
)

// Anywhere are two OUTSIDE addresses to which nobody has a route of his own:
// the way to them, by IPv4 and by IPv6, is the way to a peer that has yet to
// come. They are the anycast addresses of PCP (RFC 7723); nothing is sent there.
var Anywhere = []netip.Addr{netip.MustParseAddr("192.0.0.9"), netip.MustParseAddr("2001:1::1")}

// overhead is what WireGuard puts around a packet: an IP header, 8 bytes of UDP,
// 16 of its own and 16 of the tag.
func overhead(ipv6 bool) int {
	if ipv6 {
		return 40 + 8 + 16 + 16
	}
	return 20 + 8 + 16 + 16
}

// padding is what WireGuard makes the length of a packet a multiple of, but for
// what would be longer than the MTU (calculate_skb_padding in send.c): the sender's,
// and a peer with wider paths has a larger one. So an MTU less than the default is
// such a multiple: else what comes from there in packets of full size would have
// to be cut.
const padding = 16

// slowMTU is left out, since packets of that size take wireguard-go twice as long, which runs
// on phones and where the kernel has no WireGuard. It sends packets of one size in pieces of up
// to 65507 bytes, which the kernel cuts (UDP_SEGMENT in udp(7)). The kernel does not take a
// piece that is longer than 65520 bytes with its headers (IP_MAX_MTU in net/ip.h), and 46
// packets of 1392 bytes are 65532. No other multiple of 16 makes so many. With IPv4, it is what
// fits through 1460 bytes.
const slowMTU = 1392

// A width is an MTU for the tunnel, and why it is less than the default.
type width struct {
	mtu  int
	path Path // the narrowest
	over int  // of what it carries, WireGuard's
	to   string
}

func (w width) why() string {
	why := fmt.Sprintf("%s carries %d bytes %s, OUTSIDE: %d are WireGuard's, and the rest counts by %d", w.path.Link,
		w.path.MTU, w.to, w.over, padding)
	if rest := w.path.MTU - w.over; rest-rest%padding == slowMTU {
		why += fmt.Sprintf(", without %d, which is slow in user space", slowMTU)
	}
	return why
}

// chosen is the MTU that a tunnel gets where so much fits.
func (w width) chosen(least int) width {
	switch {
	case w.mtu >= DefaultMTU:
		return width{mtu: DefaultMTU}
	case w.over != 0: // else it is as it was
		w.mtu -= w.mtu % padding
		if w.mtu == slowMTU {
			w.mtu -= padding
		}
	}
	w.mtu = max(w.mtu, least)
	return w
}

// fittingWidth returns what fits through all paths. Where endpoints are known and no path
// is, as on a laptop without a network, the link stays as it is.
func fittingWidth(p *planner) width {
	best := width{mtu: math.MaxInt}
	if p.state.Paths == nil {
		return best
	}
	live := liveEndpoints(p)
	unknown, known, coming := false, false, false
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		coming = coming || peer.Endpoint == ""
		addrs := reachedAt(p, peer, live[peer.PublicKey])
		ipv6 := mayComeByIPv6(p, peer, addrs)
		for _, a := range addrs {
			path := p.state.Paths[a]
			unknown, known = unknown || path.MTU == 0, known || path.MTU != 0
			best = best.narrowed(path, ipv6 || !a.Is4(), "to peer "+peer.Name)
		}
	}
	for _, a := range Anywhere {
		if coming {
			best = best.narrowed(p.state.Paths[a], !a.Is4(), "to peers that come to us")
		}
	}
	if unknown && !known && p.view.MTU == 0 && p.state.Link != nil {
		best.mtu = min(best.mtu, p.state.Link.MTU)
	}
	return best
}

func (w width) narrowed(path Path, ipv6 bool, to string) width {
	if over := overhead(ipv6); path.MTU != 0 && path.MTU-over < w.mtu {
		return width{path.MTU - over, path, over, to}
	}
	return w
}

// reachedAt are the OUTSIDE addresses of a peer: where it is now or, where the
// kernel has not been told yet, where it is to be; and wherever its name leads, if
// that has been looked up.
func reachedAt(p *planner, peer *tunnel.Peer, live netip.Addr) (addrs []netip.Addr) {
	known := peer.Endpoint == "" || p.mine.Entries[journal.OfPeer(peer.PublicKey)].Set == peer.Endpoint
	if known && live.IsValid() {
		addrs = append(addrs, live)
	} else if a := literal(peer); a.IsValid() {
		addrs = append(addrs, a)
	}
	addrs = append(addrs, literals(peer)...)
	for _, a := range p.state.Endpoints[peer.Endpoint].All() {
		addrs = append(addrs, a.Addr())
	}
	return addrs
}

// mayComeByIPv6 reports whether a peer has a name, which may lead to an address
// of either family, where this host has IPv6.
func mayComeByIPv6(p *planner, peer *tunnel.Peer, addrs []netip.Addr) bool {
	if len(literals(peer)) == len(peer.Endpoints()) || literal(peer).IsValid() {
		return false
	}
	return p.state.Paths[Anywhere[1]].MTU != 0 || slices.ContainsFunc(addrs, netip.Addr.Is6)
}

// carriesIPv6 reports whether there is IPv6 INSIDE the tunnel.
func carriesIPv6(v *tunnel.View) bool {
	is6 := func(x netip.Prefix) bool { return x.Addr().Is6() }
	if slices.ContainsFunc(v.Addresses, is6) {
		return true
	}
	for i := range v.Peers {
		if slices.ContainsFunc(v.Peers[i].AllowedIPs, is6) {
			return true
		}
	}
	for key := range v.Sysctls {
		if file, err := tunnel.SysctlPath(key); err == nil && strings.HasPrefix(file, "net/ipv6/conf/"+v.Tunnel+"/") {
			return true // a narrower link would not have it
		}
	}
	return false
}

func (w width) reason(what string) string {
	if w.over == 0 {
		return what
	}
	return what + ": " + w.why()
}
