// Package nixos writes a tunnel as a NixOS module.
package nixos

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// Format returns a module for the host of v, to be imported in its configuration.nix. It
// names key files and never holds a key, because every user of the host can read the Nix
// store.
//
// The module uses networking.wireguard if that can express the tunnel. Resolvers, and a
// default route that would catch the encrypted packets, need networking.wg-quick:
// wg-quick(8) has the rules and calls resolvconf.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	if !s.PrivateKey.IsZero() || len(s.PresharedKeys) > 0 {
		return nil, fault.New("no secret is written for", "nixos",
			"what a module holds is in the Nix store, which every user of the host can read",
			"wgkeys export --format nixos "+v.Host)
	}
	w := &writer{v: v, quick: quick(v)}
	w.line(0, "# Tunnel %s of host %s, as its tunnel file was when `wgkeys export` wrote this.", v.Tunnel, v.Host)
	for _, lost := range slices.Concat(foreign.Untried(v), foreign.InTheClear(v), foreign.EveryName(v)) {
		w.line(0, "# %s", lost)
	}
	w.line(0, "{ pkgs, ... }:")
	w.line(0, "{")
	w.device()
	w.host()
	w.line(0, "}")
	return []foreign.File{{Name: "/etc/nixos/wgkeys-" + v.Tunnel + ".nix", Text: w.Bytes(), Mode: "0644",
		Owner: "root:root"}}, nil
}

// quick reports whether the module has to use wg-quick. wg-quick has rules for default
// routes only, and is the only module with an interface that is not started at boot.
func quick(v *tunnel.View) bool {
	return len(v.DNS) > 0 || v.NoBoot || slices.ContainsFunc(v.Routes, func(r tunnel.Route) bool {
		return r.Prefix.Bits() == 0 && foreign.NeedsTable(v, r)
	})
}

// A writer writes a module.
type writer struct {
	bytes.Buffer
	v     *tunnel.View
	quick bool
}

func (w *writer) line(depth int, format string, args ...any) {
	w.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.Buffer, format, args...)
	w.WriteByte('\n')
}

// number writes an option unless n is 0.
func (w *writer) number(depth int, option string, n int) {
	if n != 0 {
		w.line(depth, "%s = %d;", option, n)
	}
}

// text writes an option unless s is empty.
func (w *writer) text(depth int, option, s string) {
	if s != "" {
		w.line(depth, "%s = %s;", option, quoted(s))
	}
}

// quoted returns s as a string of the Nix language.
func quoted(s string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", `\${`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	return `"` + escape.Replace(s) + `"`
}

// list returns a list of strings of the Nix language.
func list(all []string) string {
	var b strings.Builder
	b.WriteString("[ ")
	for _, s := range all {
		b.WriteString(quoted(s) + " ")
	}
	return b.String() + "]"
}

func prefixes(all []netip.Prefix) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return list(words)
}

// commands writes an option that is lines for sh(1), as an indented string of the Nix
// language, which stands between pairs of single quotes.
func (w *writer) commands(option string, lines []string) {
	if len(lines) == 0 {
		return
	}
	w.line(2, "%s = ''", option)
	for _, l := range lines {
		w.line(3, "%s", l)
	}
	w.line(2, "'';")
}

// device writes the interface with its peers.
func (w *writer) device() {
	v := w.v
	module, addresses, up, down := "wireguard", "ips", "postSetup", "postShutdown"
	if w.quick {
		module, addresses, up, down = "wg-quick", "address", "postUp", "postDown"
	}
	w.line(1, "networking.%s.interfaces.%s = {", module, quoted(v.Tunnel))
	if v.Description != "" {
		w.line(2, "# %s", v.Description)
	}
	own := slices.DeleteFunc(slices.Clone(v.Addresses), func(a netip.Prefix) bool { return v.Remotes[a.Addr()].IsValid() })
	if len(own) > 0 {
		w.line(2, "%s = %s;", addresses, prefixes(own))
	}
	w.number(2, "listenPort", v.ListenPort)
	w.text(2, "privateKeyFile", v.PrivateKeyFile)
	if v.NoBoot {
		w.line(2, "autostart = false;")
	}
	w.number(2, "mtu", v.MTU)
	if len(v.DNS) > 0 {
		w.line(2, "dns = %s;", list(v.DNS))
	}
	if v.FwMark != 0 && !w.quick {
		w.line(2, "fwMark = %s;", quoted(fmt.Sprintf("%#x", v.FwMark)))
	}
	w.table()
	w.line(2, "peers = [")
	for i := range v.Peers {
		w.peer(&v.Peers[i])
	}
	w.line(2, "];")
	there, back := w.hooks()
	w.commands(up, there)
	w.commands(down, back)
	w.line(1, "};")
}

// table writes the routing table, or that the allowed IPs are not the routes.
func (w *writer) table() {
	switch v := w.v; {
	case !w.automatic() && w.quick:
		w.text(2, "table", "off")
	case !w.automatic():
		w.line(2, "allowedIPsAsRoutes = false;")
	case v.Table != 0:
		w.text(2, "table", strconv.Itoa(v.Table))
	}
}

// automatic reports whether there is a route for each allowed IP and no other. Both modules
// add these by themselves; wg-quick adds none where the kernel makes one for an address.
func (w *writer) automatic() bool {
	return foreign.ForAllowedIPs(w.v, func(p netip.Prefix) bool { return connected(w.v, p) })
}

// connected reports whether p is an IPv4 prefix to which the kernel makes a route for an
// address.
func connected(v *tunnel.View, p netip.Prefix) bool {
	return v.Table == 0 && p.Addr().Is4() && slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool {
		far, ok := v.Remotes[a.Addr()]
		return a.Masked() == p || ok && far.Masked() == p
	})
}

func (w *writer) peer(p *tunnel.Peer) {
	w.line(3, "{")
	for _, c := range foreign.Described(p.Name, p.About) {
		w.line(4, "# %s", c)
	}
	w.text(4, "publicKey", p.PublicKey.String())
	w.text(4, "presharedKeyFile", p.PresharedKeyFile)
	if p.Endpoint != "" {
		w.text(4, "endpoint", p.Endpoints()[0])
	}
	w.number(4, "persistentKeepalive", p.Keepalive)
	w.line(4, "allowedIPs = %s;", prefixes(p.AllowedIPs))
	w.line(3, "}")
}

// Paths of programs in the store: a unit does not have all of them in its PATH.
const (
	ip  = "${pkgs.iproute2}/bin/ip"
	sed = "${pkgs.gnused}/bin/sed"
)

// hooks returns the commands to run when the interface is up, and when it is gone.
func (w *writer) hooks() (up, down []string) {
	v := w.v
	if w.quick && v.FwMark != 0 {
		up = append(up, fmt.Sprintf("${pkgs.wireguard-tools}/bin/wg set %s fwmark %#x", v.Tunnel, v.FwMark))
	}
	for _, a := range v.Addresses { // the modules have no option for a remote address
		if far := v.Remotes[a.Addr()]; far.IsValid() {
			up = append(up, fmt.Sprintf("%s address add %s peer %s dev %s", ip, a.Addr(), far, v.Tunnel))
		}
	}
	if !w.automatic() {
		up = append(up, w.routes()...)
	}
	uplinks := "for d in $(" + ip + " -6 route show default | " + sed + ` -n 's/.* dev \([^ ]*\).*/\1/p'); do `
	for _, a := range v.Proxies {
		up = append(up, uplinks+ip+" -6 neigh replace proxy "+a.String()+` dev "$d"; done`)
		down = append(down, uplinks+ip+" -6 neigh del proxy "+a.String()+` dev "$d" || true; done`)
	}
	rules, taken := w.firewall()
	return append(up, rules...), append(down, taken...)
}

// firewall returns the commands of iptables to run when the interface is up, and when it is
// gone.
func (w *writer) firewall() (up, down []string) {
	v := w.v
	both := func(p netip.Prefix, table, there, rule string) {
		program := "${pkgs.iptables}/bin/iptables"
		if p.Addr().Is6() {
			program = "${pkgs.iptables}/bin/ip6tables"
		}
		up = append(up, program+" -t "+table+" "+there+" "+rule)
		down = append(down, program+" -t "+table+" -D "+rule)
	}
	for _, m := range v.Masquerade {
		source := "POSTROUTING -s " + m.String()
		if len(v.MasqueradeBy) == 0 {
			both(m, "nat", "-A", source+" ! -o "+v.Tunnel+" -j MASQUERADE")
		}
		for _, u := range v.MasqueradeBy {
			both(m, "nat", "-A", source+" -o "+u+" -j MASQUERADE")
		}
	}
	for _, family := range []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		if v.MasqueradeTunnel {
			both(family, "nat", "-A", "POSTROUTING -o "+v.Tunnel+" -j MASQUERADE")
		}
		if v.Isolate {
			both(family, "filter", "-I", "FORWARD -i "+v.Tunnel+" -o "+v.Tunnel+" -j DROP")
		}
	}
	return up, down
}

func (w *writer) routes() (commands []string) {
	for _, r := range w.v.Routes {
		if connected(w.v, r.Prefix) {
			continue
		}
		c := ip + " route replace " + r.Prefix.String()
		if r.Gateway.IsValid() {
			c += " via " + r.Gateway.String() + " onlink"
		}
		c += " dev " + w.v.Tunnel
		if w.v.Table != 0 {
			c += " table " + strconv.Itoa(w.v.Table)
		}
		if r.Metric != 0 {
			c += " metric " + strconv.Itoa(r.Metric)
		}
		commands = append(commands, c)
	}
	return commands
}

// host writes the host's other settings. accept_ra = 2 lets interfaces that accept router
// advertisements go on with it when the host becomes a router. all.accept_ra has no effect;
// NixOS sets sysctls with systemd-sysctl, which accepts patterns (sysctl.d(5)).
func (w *writer) host() {
	v := w.v
	if v.ListenPort != 0 {
		w.line(1, "networking.firewall.allowedUDPPorts = [ %d ];", v.ListenPort)
	}
	sysctls := maps.Clone(v.Sysctls)
	if sysctls == nil {
		sysctls = map[string]string{}
	}
	if v.ForwardIPv4 {
		sysctls["net.ipv4.conf.all.forwarding"] = "1"
	}
	if v.ForwardIPv6 {
		sysctls["net.ipv6.conf.*.accept_ra"] = "2"
		sysctls["net.ipv6.conf.all.forwarding"] = "1"
	}
	if len(v.Proxies) > 0 {
		sysctls["net.ipv6.conf.all.proxy_ndp"] = "1"
	}
	if len(sysctls) == 0 {
		return
	}
	w.line(1, "boot.kernel.sysctl = {")
	for _, key := range slices.Sorted(maps.Keys(sysctls)) {
		w.line(2, "%s = %s;", quoted(key), quoted(sysctls[key]))
	}
	w.line(1, "};")
}
