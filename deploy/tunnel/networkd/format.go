package networkd

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

const dir = "/etc/systemd/network/"

// Format writes v for systemd-networkd: a .netdev that only root and networkd can read, a
// .network, and for a router a drop-in of networkd.conf. Without secrets the .netdev has
// the paths of the host's key files.
//
// Routes are written out, because RouteTable= exists only since systemd 250.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	name := dir + "50-" + v.Tunnel
	netdev, network := &writer{v: v}, &writer{v: v}
	netdev.netdev(s)
	network.network()
	files := []foreign.File{
		{Name: name + ".netdev", Text: netdev.text.Bytes(), Mode: "0640", Owner: "root:systemd-network"},
		{Name: name + ".network", Text: network.text.Bytes(), Mode: "0644"},
	}
	if v.Forward {
		conf := &writer{v: v}
		conf.conf()
		files = append(files, foreign.File{Name: "/etc/systemd/networkd.conf.d/50-" + v.Tunnel + ".networkd.conf",
			Text: conf.text.Bytes(), Mode: "0644"})
	}
	return files, nil
}

// A writer writes one file.
type writer struct {
	v    *tunnel.View
	text bytes.Buffer
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format, args...)
	w.text.WriteByte('\n')
}

// note writes a comment for the reader of the file. An import does not take it for one of
// the tunnel's (see [foreign.Comment]).
func (w *writer) note(format string, args ...any) { w.line("# wgkeys: "+format, args...) }

func (w *writer) section(name string) {
	if w.text.Len() > 0 {
		w.line("")
	}
	w.line("[%s]", name)
}

// given writes a line unless n is 0.
func (w *writer) given(key string, n int) {
	if n != 0 {
		w.line("%s=%d", key, n)
	}
}

// key writes a line with the content of a key file, and wipes it.
func (w *writer) key(name string, file []byte) {
	w.text.WriteString(name + "=")
	w.text.Write(file)
	clear(file)
}

func (w *writer) netdev(s foreign.Secrets) {
	v := w.v
	inline := !s.PrivateKey.IsZero()
	if !inline {
		w.readers()
	}
	w.section("NetDev")
	w.line("# %s", v.Host)
	w.line("Name=%s", v.Tunnel)
	w.line("Kind=wireguard")
	if v.Description != "" {
		w.line("Description=%s", v.Description)
	}
	w.given("MTUBytes", v.MTU)
	w.section("WireGuard")
	if inline {
		w.key("PrivateKey", s.PrivateKey.File())
	} else {
		w.line("PrivateKeyFile=%s", v.PrivateKeyFile)
	}
	w.given("ListenPort", v.ListenPort)
	if p := policyOf(v); p != nil && v.FwMark == 0 {
		w.note("the mark by which the rules in the .network know the encrypted packets")
		w.given("FirewallMark", p.mark)
	} else {
		w.given("FirewallMark", int(v.FwMark))
	}
	for i := range v.Peers {
		w.peer(&v.Peers[i], s)
	}
}

// readers writes notes about the permissions that the key files need.
func (w *writer) readers() {
	files := []string{w.v.PrivateKeyFile}
	for _, p := range w.v.Peers {
		if p.PresharedKeyFile != "" {
			files = append(files, p.PresharedKeyFile)
		}
	}
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, path.Dir(f))
	}
	slices.Sort(dirs)
	w.note("systemd-networkd reads the keys as the user systemd-network, which root's 0600 keeps out:")
	for _, d := range slices.Compact(dirs) {
		w.note("chgrp systemd-network %s && chmod 0710 %[1]s", d)
	}
	for _, f := range files {
		w.note("chgrp systemd-network %s && chmod 0640 %[1]s", f)
	}
}

func (w *writer) peer(p *tunnel.Peer, s foreign.Secrets) {
	w.section("WireGuardPeer")
	for _, c := range foreign.Described(p.Name, p.About) {
		w.line("# %s", c)
	}
	w.line("PublicKey=%s", p.PublicKey)
	if psk, ok := s.PresharedKeys[p.Name]; ok && !s.PrivateKey.IsZero() {
		w.key("PresharedKey", psk.File())
	} else if p.PresharedKeyFile != "" {
		w.line("PresharedKeyFile=%s", p.PresharedKeyFile)
	}
	if len(p.AllowedIPs) > 0 {
		words := make([]string, len(p.AllowedIPs))
		for i, a := range p.AllowedIPs {
			words[i] = a.String()
		}
		w.line("AllowedIPs=%s", strings.Join(words, ","))
	}
	if p.Endpoint != "" {
		w.line("Endpoint=%s", p.Endpoints()[0])
	}
	w.given("PersistentKeepalive", p.Keepalive)
}

func (w *writer) network() {
	v := w.v
	w.section("Match")
	w.line("Name=%s", v.Tunnel)
	if v.NoBoot {
		w.section("Link")
		w.line("ActivationPolicy=manual")
	}
	w.section("Network")
	for _, a := range v.Addresses {
		if !v.Remotes[a.Addr()].IsValid() {
			w.line("Address=%s", a)
		}
	}
	for _, d := range v.DNS {
		if _, err := netip.ParseAddr(d); err == nil {
			w.line("DNS=%s", d)
		} else {
			w.line("Domains=%s", d)
		}
	}
	w.router()
	w.sysctls()
	for _, a := range v.Addresses {
		if remote := v.Remotes[a.Addr()]; remote.IsValid() {
			w.section("Address")
			w.line("Address=%s\nPeer=%s", a, remote)
		}
	}
	p := policyOf(v)
	if p != nil {
		w.rules(p)
	}
	for _, r := range v.Routes {
		w.route(r, p)
	}
}

// router turns on forwarding and masquerading. The settings for one family came with
// systemd 256. Older versions ignore them and use IPForward=.
func (w *writer) router() {
	v := w.v
	if v.Forward {
		w.note("IPForward= is for systemd before 256, the others from 256 on")
		w.line("IPForward=%s", of(v.ForwardIPv4, v.ForwardIPv6, "yes"))
		w.truth("IPv4Forwarding", v.ForwardIPv4)
		w.truth("IPv6Forwarding", v.ForwardIPv6)
	}
	ipv4 := slices.ContainsFunc(v.Masquerade, func(p netip.Prefix) bool { return p.Addr().Is4() })
	ipv6 := slices.ContainsFunc(v.Masquerade, func(p netip.Prefix) bool { return p.Addr().Is6() })
	switch {
	case len(v.MasqueradeBy) > 0:
		w.note("IPMasquerade= is for all uplinks; in /etc/nftables.conf: oifname { %s } masquerade, from %s",
			strings.Join(v.MasqueradeBy, ", "), v.Tunnel)
	case ipv4 || ipv6:
		w.line("IPMasquerade=%s", of(ipv4, ipv6, "both"))
	}
	if v.MasqueradeTunnel {
		w.note("in the .network of the host's own network: IPMasquerade=both")
	}
	if v.Isolate {
		w.note("systemd-networkd keeps no peers apart; in /etc/nftables.conf: iifname %s oifname %[1]s drop", v.Tunnel)
	}
	for _, a := range v.Proxies {
		w.note("in the uplink's .network: IPv6ProxyNDPAddress=%s", a)
	}
}

func of(ipv4, ipv6 bool, both string) string {
	switch {
	case ipv4 && ipv6:
		return both
	case ipv6:
		return "ipv6"
	}
	return "ipv4"
}

func (w *writer) truth(key string, yes bool) {
	if yes {
		w.line("%s=yes", key)
	}
}

// conf writes the part of forwarding that is for all interfaces: IPv6 is forwarded only if
// net.ipv6.conf.all.forwarding is on.
func (w *writer) conf() {
	w.note("for all interfaces: IPv6 is not forwarded otherwise. An uplink whose default route comes from")
	w.note("router advertisements needs IPv6AcceptRA=yes in its own .network: with forwarding it is off")
	w.section("Network")
	w.truth("IPv4Forwarding", w.v.ForwardIPv4)
	w.truth("IPv6Forwarding", w.v.ForwardIPv6)
}

// sysctls writes the sysctls of the interface, as keys of the .network where there are any.
func (w *writer) sysctls() {
	v := w.v
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		if line := networkKeyOf(v.Tunnel, key, v.Sysctls[key]); line != "" {
			w.line("%s", line)
		} else {
			w.note("in a file of /etc/sysctl.d: %s = %s", key, v.Sysctls[key])
		}
	}
}

func networkKeyOf(name, key, value string) string {
	file, err := tunnel.SysctlPath(key)
	if err != nil {
		return ""
	}
	parameter, ok := strings.CutPrefix(file, "net/ipv4/conf/"+name+"/")
	if !ok {
		return ""
	}
	boolean := map[string]string{"accept_local": "IPv4AcceptLocal", "route_localnet": "IPv4RouteLocalnet",
		"src_valid_mark": "IPv4SrcValidMark"}[parameter]
	words := map[string]string{"0": "no", "1": "yes"}
	if parameter == "rp_filter" {
		boolean, words = "IPv4ReversePathFilter", map[string]string{"0": "no", "1": "strict", "2": "loose"}
	}
	if boolean == "" || words[value] == "" {
		return ""
	}
	return boolean + "=" + words[value]
}

func (w *writer) route(r tunnel.Route, p *policy) {
	w.section("Route")
	w.line("Destination=%s", r.Prefix)
	if r.Gateway.IsValid() {
		w.line("Gateway=%s", r.Gateway)
		if !slices.ContainsFunc(w.v.Addresses, func(a netip.Prefix) bool { return a.Contains(r.Gateway) }) {
			w.line("GatewayOnLink=yes")
		}
	}
	w.given("Metric", r.Metric)
	if p != nil && foreign.NeedsTable(w.v, r) {
		w.given("Table", p.table)
	} else {
		w.given("Table", w.v.Table)
	}
}
