// Package applytest makes views and keys for tests of apply, with a kernel in memory and
// with real ones.
package applytest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// PrivateKey returns a private key that depends on seed alone.
func PrivateKey(seed string) keyring.PrivateKey {
	scalar := sha256.Sum256([]byte(seed))
	scalar[0] &= 248 // as wg genkey clamps it: RFC 7748, section 5
	scalar[31] = scalar[31]&127 | 64
	key, err := keyring.ParsePrivateKey([]byte(base64.StdEncoding.EncodeToString(scalar[:])))
	if err != nil {
		panic(err)
	}
	return key
}

// PublicKey returns the public key of [PrivateKey].
func PublicKey(seed string) keyring.PublicKey { return PrivateKey(seed).PublicKey() }

// PresharedKey returns a preshared key that depends on seed alone.
func PresharedKey(seed string) keyring.PresharedKey {
	sum := sha256.Sum256([]byte(seed))
	key, err := keyring.ParsePresharedKey([]byte(base64.StdEncoding.EncodeToString(sum[:])))
	if err != nil {
		panic(err)
	}
	return key
}

// Own are the seeds of the keys that a view's own host may have.
var Own = []string{"shale", "shale after a rotation"}

// Prefixes parses prefixes that are separated by blanks.
func Prefixes(list string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// farEnds are the far ends of some addresses of a view.
var farEnds = map[netip.Prefix]netip.Prefix{
	netip.MustParsePrefix("2001:db8:a::1/128"): netip.MustParsePrefix("2001:db8:b::1/64"),
	netip.MustParsePrefix("10.0.0.1/32"):       netip.MustParsePrefix("10.7.0.2/32"),
}

func randomAddresses(r *rand.Rand, v *tunnel.View, pool []netip.Prefix) {
	for _, a := range pool {
		if r.IntN(2) != 0 {
			continue
		}
		v.Addresses = append(v.Addresses, a)
		if far, ok := farEnds[a]; ok && r.IntN(2) == 0 {
			if v.Remotes == nil {
				v.Remotes = map[netip.Addr]netip.Prefix{}
			}
			v.Remotes[a.Addr()] = far
		}
	}
}

// View returns a random valid view; the pools are small, so that views have much in common.
func View(r *rand.Rand, name string) *tunnel.View {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	v := &tunnel.View{
		Tunnel:         name,
		Host:           "shale",
		PublicKey:      PublicKey(pick(Own[0], Own[0], Own[1])),
		PrivateKeyFile: "/etc/wireguard/" + name + ".key",
		ListenPort:     []int{0, 30567, 51820}[r.IntN(3)],
		MTU:            []int{0, 1280, 1380}[r.IntN(3)],
		FwMark:         []uint32{0, 0, 7}[r.IntN(3)],
		Table:          []int{0, 0, 254, 7767}[r.IntN(4)],
		Forward:        r.IntN(2) == 0,
	}
	pool := Prefixes(`2001:db8::2/128 2001:db8::3/128 2001:db8::4/128 2001:db8:1::/48 ::/0 10.0.0.2/32 10.0.0.3/32
		10.1.0.0/16 192.168.0.0/24`)
	addresses := Prefixes("2001:db8::1/64 2001:db8:a::1/128 10.0.0.1/32 10.9.0.1/24")
	if r.IntN(5) == 0 { // an IPv4-only tunnel can be narrower than IPv6 allows
		v.MTU = 576
		is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
		pool, addresses = slices.DeleteFunc(pool, is6), slices.DeleteFunc(addresses, is6)
	}
	randomPeers(r, v, pool, pick)
	randomAddresses(r, v, addresses)
	if v.Forward {
		v.ForwardIPv6 = slices.ContainsFunc(pool, func(p netip.Prefix) bool { return p.Addr().Is6() })
		v.ForwardIPv4 = r.IntN(2) == 0
		v.Through = [][]netip.Prefix{nil, Prefixes("10.200.0.0/16 192.0.2.0/24")}[r.IntN(2)]
	}
	for _, key := range []string{"net.ipv4.conf.NAME.rp_filter", "net.ipv4.conf.all.rp_filter", "net.ipv4.tcp_mtu_probing",
		"net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.all.src_valid_mark",
		"net.ipv6.conf.eth0.proxy_ndp", "net.ipv6.conf.NAME.proxy_ndp"} {
		if v.MTU == 576 && strings.HasPrefix(key, "net.ipv6.conf.NAME") {
			continue // such a link has none
		}
		if r.IntN(4) == 0 {
			if v.Sysctls == nil {
				v.Sysctls = map[string]string{}
			}
			v.Sysctls[strings.Replace(key, "NAME", name, 1)] = pick("0", "1")
			if strings.HasSuffix(key, "accept_redirects") { // that would be refused
				v.Sysctls[key] = "0"
			}
		}
	}
	if r.IntN(3) == 0 {
		v.Masquerade = Prefixes("10.0.0.0/8")
		if r.IntN(2) == 0 {
			v.MasqueradeBy = []string{"eth0", "wlan0"}
		}
	}
	v.MasqueradeTunnel, v.Isolate = r.IntN(4) == 0, r.IntN(4) == 0
	if r.IntN(3) == 0 {
		v.DNS = []string{pick("2001:db8::53", "10.0.0.53"), "example.net"}
	}
	return v
}

// endpoints of random peers, chosen by the length of the peer's name
const firstEndpoint, otherEndpoint = "198.51.100.", "203.0.113.9"

// Endpoints returns the OUTSIDE addresses that a [View] may contain.
func Endpoints() []netip.Addr {
	addrs := []netip.Addr{netip.MustParseAddr(otherEndpoint)}
	for n := range 10 {
		addrs = append(addrs, netip.MustParseAddr(firstEndpoint+fmt.Sprint(n)))
	}
	return addrs
}

func randomPeers(r *rand.Rand, v *tunnel.View, pool []netip.Prefix, pick func(...string) string) {
	names := []string{"agate", "basalt", "chert", "dolerite", "gabbro"}
	for _, name := range names {
		if r.IntN(3) == 0 {
			continue
		}
		p := tunnel.Peer{
			Name:       name,
			PublicKey:  PublicKey(pick(name, name, name+" after a rotation")),
			Keepalive:  []int{0, 0, 25}[r.IntN(3)],
			Endpoint:   pick("", firstEndpoint+fmt.Sprint(len(name))+":51820", otherEndpoint+":"+fmt.Sprint(40000+len(name))),
			AllowedIPs: []netip.Prefix{},
		}
		if r.IntN(3) == 0 {
			p.PresharedKeyFile = "/etc/wireguard/" + v.Tunnel + "." + name + ".psk"
		}
		v.Peers = append(v.Peers, p)
	}
	metric := []int{0, 0, 512, 1024}[r.IntN(4)]
	for _, prefix := range pool {
		i := r.IntN(len(names) + 2)
		if i >= len(v.Peers) {
			continue
		}
		p := &v.Peers[i]
		p.AllowedIPs = append(p.AllowedIPs, prefix)
		route := tunnel.Route{Prefix: prefix, Metric: metric, Peer: p.Name}
		v.Routes = append(v.Routes, route)
		if prefix.IsSingleIP() && prefix.Addr().Is6() && r.IntN(2) == 0 {
			v.Proxies = append(v.Proxies, prefix.Addr())
		}
	}
	for i := range v.Routes { // some lead through a gateway that a peer has
		for _, g := range v.Routes {
			if q := &v.Routes[i]; g.Prefix.IsSingleIP() && !q.Prefix.IsSingleIP() &&
				g.Prefix.Addr().Is4() == q.Prefix.Addr().Is4() && g.Peer == q.Peer {
				q.Gateway = g.Prefix.Addr()
			}
		}
	}
	slices.SortFunc(v.Routes, func(a, b tunnel.Route) int { return a.Prefix.Compare(b.Prefix) })
}
