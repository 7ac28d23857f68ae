package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel"
)

// otherTools are other programs on the same way, each with what its manual
// tells users to do after an edit of its file.
var otherTools = []tool{
	{
		name:  "wg syncconf",
		files: confOf,
		up:    quickUp,
		move:  "cp /root/$1.conf /etc/wireguard/wg0.conf; wg-quick strip wg0 >/run/stripped; wg syncconf wg0 /run/stripped",
		down:  "wg-quick down wg0",
	},
	{
		name:  "wg-quick down, up",
		files: confOf,
		up:    quickUp,
		move:  "wg-quick down wg0; " + quickUp,
		down:  "wg-quick down wg0",
	},
}

// quickUp: the laboratory's kernel may have no WireGuard, and unlike one of the
// kernel's a device in user space would get a link-local address, each time
// another. wg-quick never puts src_valid_mark back; that it is set to begin with
// keeps this one difference out of the count.
const quickUp = "sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1 net.ipv4.conf.all.src_valid_mark=1; ln -sf wgkeys /usr/local/bin/wireguard-go; cp /root/$1.conf /etc/wireguard/wg0.conf; wg-quick up wg0"

// confOf is a line of shell that writes a view as wg-quick(8) takes it, with
// the secrets from their files. What wg-quick has no word for is in its hooks.
func confOf(_ *testing.T, v *tunnel.View, path string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("umask 077; cat >%s.conf <<END", path)
	line("[Interface]\nPrivateKey = $(cat %s)\nListenPort = %d\nAddress = %s", v.PrivateKeyFile, v.ListenPort, joined(v.Addresses))
	line("MTU = %d", cmp.Or(v.MTU, 1420))
	if v.FwMark != 0 {
		line("FwMark = %d", v.FwMark)
	}
	if v.Table != 0 {
		line("Table = %d", v.Table)
	}
	hooks(v, line)
	for _, p := range v.Peers {
		line("[Peer]\nPublicKey = %s\nAllowedIPs = %s", p.PublicKey, joined(p.AllowedIPs))
		if p.PresharedKeyFile != "" {
			line("PresharedKey = $(cat %s)", p.PresharedKeyFile)
		}
		if p.Endpoint != "" {
			line("Endpoint = %s", p.Endpoint)
		}
		if p.Keepalive != 0 {
			line("PersistentKeepalive = %d", p.Keepalive)
		}
	}
	line("END")
	return b.String()
}

// hooks are the parts of a view that wg-quick runs as shell.
func hooks(v *tunnel.View, line func(string, ...any)) {
	sysctl := func(key, value string) {
		line("PostUp = sysctl -q -w %s=%s", key, value)
		if !strings.Contains(key, "wg0") {
			line("PostDown = sysctl -q -w %s=%s", key, map[string]string{"2": "1", "1": "0"}[value])
		}
	}
	if v.Forward {
		sysctl("net.ipv6.conf.eth0.accept_ra", "2")
		sysctl("net.ipv6.conf.all.forwarding", "1")
		sysctl("net.ipv4.ip_forward", "1")
	}
	for key, value := range v.Sysctls {
		sysctl(key, value)
	}
	for i, addr := range v.Proxies {
		if i == 0 {
			sysctl("net.ipv6.conf.eth0.proxy_ndp", "1")
		}
		line("PostUp = ip -6 neigh add proxy %s dev eth0\nPostDown = ip -6 neigh del proxy %s dev eth0", addr, addr)
	}
	if v.Masquerade != nil {
		line("PostUp = nft add table inet nat; nft 'add chain inet nat c { type nat hook postrouting priority 100; }'")
		line("PostUp = nft add rule inet nat c iifname wg0 oifname eth0 masquerade\nPostDown = nft delete table inet nat")
	}
	for _, r := range v.Routes {
		if r.Metric != 0 && r.Prefix.Bits() > 0 {
			line("PostUp = ip route replace %s dev wg0 metric %d", via(r), r.Metric)
		}
	}
}

func via(r tunnel.Route) string {
	if r.Gateway.IsValid() {
		return r.Prefix.String() + " via " + r.Gateway.String()
	}
	return r.Prefix.String()
}

func joined(prefixes []netip.Prefix) string {
	var words []string
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}
