package wgquick

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/words"
)

// Format writes v for wg-quick. Without secrets it names the host's key files in commands
// that wg-quick runs when the interface is up, because neither wg-quick nor wg(8) has a key
// for a file name. With secrets the keys are in the text, which is then secret. Such a text
// is also what WireGuard's apps for phones read, so it has nothing that they would refuse,
// unless the host is a router.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	w := &writer{Writer: foreign.Writer{View: v, Is: " = "}, s: s, inline: !s.PrivateKey.IsZero()}
	w.Line("[Interface]")
	for _, c := range foreign.Described(v.Host, v.About) {
		w.Line("# %s", c)
	}
	if v.NoBoot {
		w.Note("it is not started at boot: leave wg-quick@%s disabled", v.Tunnel)
	}
	for _, lost := range slices.Concat(foreign.Untried(v), foreign.InTheClear(v), foreign.EveryName(v)) {
		w.Note("%s", lost)
	}
	w.device()
	if !w.inline {
		w.keyFiles()
	}
	w.host()
	for i := range v.Peers {
		w.peer(&v.Peers[i])
	}
	mode := "0644"
	if w.inline {
		mode = "0600"
	}
	return []foreign.File{{Name: "/etc/wireguard/" + v.Tunnel + ".conf", Text: w.Text.Bytes(), Mode: mode}}, nil
}

// A writer writes one file.
type writer struct {
	foreign.Writer
	s      foreign.Secrets
	inline bool
}

// device writes what wg-quick and wg(8) have keys for.
func (w *writer) device() {
	v := w.View
	if w.inline {
		w.Key("PrivateKey", w.s.PrivateKey.File())
	}
	alone := slices.DeleteFunc(slices.Clone(v.Addresses), func(a netip.Prefix) bool {
		return v.Remotes[a.Addr()].IsValid() && w.commands()
	})
	if len(alone) > 0 {
		w.Line("Address = %s", commas(alone))
	}
	w.Given("ListenPort", v.ListenPort)
	w.Given("MTU", v.MTU)
	if !w.automatic() && len(foreign.PolicyRouted(v)) > 0 {
		w.Line("FwMark = %#x", foreign.PolicyMark(v))
	} else {
		w.Given("FwMark", int(v.FwMark))
	}
	if dns := w.resolvers(); len(dns) > 0 {
		w.Line("DNS = %s", strings.Join(dns, ", "))
	}
	switch {
	case !w.automatic():
		w.Line("Table = off")
	default:
		w.Given("Table", v.Table)
	}
}

// resolvers returns the resolvers and domains without "~.", which stands for every name. wg-quick
// asks its resolvers for every name anyway (resolvconf -x, in set_dns of wireguard-tools
// 1.0.20210914). The apps refuse a domain with "~" (InetAddresses.isHostname in
// wireguard-android), and ask the resolvers for every name, too.
func (w *writer) resolvers() (dns []string) {
	for _, d := range w.View.DNS {
		if !w.commands() {
			d = strings.TrimPrefix(d, "~")
		}
		if d != "~." && d != "." {
			dns = append(dns, d)
		}
	}
	return dns
}

// automatic reports whether the routes are those that wg-quick makes by itself.
func (w *writer) automatic() bool { return foreign.ForAllowedIPs(w.View, nil) }

// keyFiles writes commands that read the keys from their files when the interface is up.
func (w *writer) keyFiles() {
	w.Line("PostUp = wg set %%i private-key %s", words.ForShell(w.View.PrivateKeyFile))
	for i := range w.View.Peers {
		if p := &w.View.Peers[i]; p.PresharedKeyFile != "" {
			w.Line("PostUp = wg set %%i peer %s preshared-key %s", p.PublicKey, words.ForShell(p.PresharedKeyFile))
		}
	}
}

// host writes commands for the rest of what the host does. A phone runs none.
func (w *writer) host() {
	if !w.commands() {
		return
	}
	v := w.View
	if v.ForwardIPv4 {
		w.Line("PostUp = sysctl -w net.ipv4.conf.all.forwarding=1")
	}
	if v.ForwardIPv6 {
		w.Line("PostUp = sysctl -w net.ipv6.conf.all.forwarding=1")
	}
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		w.Line("PostUp = sysctl -w %s=%s", key, v.Sysctls[key])
	}
	if !w.automatic() {
		w.routes()
	}
	for _, a := range v.Addresses {
		if far := v.Remotes[a.Addr()]; far.IsValid() {
			w.Line("PostUp = ip addr add %s peer %s dev %%i", a.Addr(), far)
		}
	}
	w.firewall()
	for _, a := range v.Proxies {
		w.Line("# %s: answer for it on the uplink: ip -6 neigh add proxy %[1]s dev UPLINK", a)
	}
}

// commands reports whether the text may have commands, which no app runs.
func (w *writer) commands() bool { return !w.inline || w.router() }

// router reports whether the host does more than an app on a phone could. A phone is never
// managed, and has a far end as part of its address.
func (w *writer) router() bool {
	v := w.View
	masquerades := len(v.Masquerade) > 0 || v.MasqueradeTunnel
	return v.Forward || v.Isolate || masquerades || len(v.Sysctls) > 0 || len(v.Proxies) > 0 || !w.automatic() ||
		len(v.Remotes) > 0 && !v.Unmanaged
}

// firewall writes commands for iptables(8).
func (w *writer) firewall() {
	v := w.View
	for _, prefix := range v.Masquerade {
		rule := fmt.Sprintf("POSTROUTING -s %s ! -o %%i -j MASQUERADE", prefix)
		if len(v.MasqueradeBy) == 0 {
			w.rule(prefix.Addr().Is4(), "-t nat ", rule)
		}
		for _, uplink := range v.MasqueradeBy {
			w.rule(prefix.Addr().Is4(), "-t nat ", fmt.Sprintf("POSTROUTING -s %s -o %s -j MASQUERADE", prefix, uplink))
		}
	}
	for _, is4 := range []bool{true, false} {
		if v.MasqueradeTunnel && w.has(is4) {
			w.rule(is4, "-t nat ", "POSTROUTING -o %i -j MASQUERADE")
		}
		if v.Isolate && w.has(is4) {
			w.rule(is4, "", "FORWARD -i %i -o %i -j DROP")
		}
	}
}

// has reports whether the host has an address of the family in the tunnel.
func (w *writer) has(is4 bool) bool {
	return slices.ContainsFunc(w.View.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == is4 })
}

// rule writes a command for iptables(8) and the one that undoes it.
func (w *writer) rule(is4 bool, table, rule string) {
	program := "ip6tables"
	if is4 {
		program = "iptables"
	}
	add := "-A"
	if table == "" { // before what lets packets through
		add = "-I"
	}
	w.Line("PostUp = %s %s%s %s", program, table, add, rule)
	w.Line("PostDown = %s %s-D %s", program, table, rule)
}

// routes writes the routes as commands, because wg-quick makes others by itself. Then it
// keeps no encrypted packets out of them either.
func (w *writer) routes() {
	policy := foreign.PolicyRouted(w.View)
	for _, r := range w.View.Routes {
		var b strings.Builder
		fmt.Fprintf(&b, "PostUp = ip route add %s", r.Prefix)
		if r.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %s", r.Gateway)
		}
		b.WriteString(" dev %i")
		switch {
		case policy[r.Prefix]:
			fmt.Fprintf(&b, " table %d", foreign.PolicyTable)
		case w.View.Table != 0:
			fmt.Fprintf(&b, " table %d", w.View.Table)
		}
		if r.Metric != 0 {
			fmt.Fprintf(&b, " metric %d", r.Metric)
		}
		w.Line("%s", b.String())
	}
	for _, rule := range foreign.PolicyRules(w.View, policy) {
		w.Line("PostUp = "+rule, "add")
		w.Line("PostDown = "+rule, "del")
	}
	for prefix := range policy {
		if prefix.Addr().Is4() { // otherwise the reverse path filter ignores the mark
			w.Line("PostUp = sysctl -w %s=1", foreign.MarkSysctl)
			break
		}
	}
}

func (w *writer) peer(p *tunnel.Peer) {
	w.Line("\n[Peer]")
	for _, c := range foreign.Described(p.Name, p.About) {
		w.Line("# %s", c)
	}
	w.Line("PublicKey = %s", p.PublicKey)
	if psk, ok := w.s.PresharedKeys[p.Name]; ok && w.inline {
		w.Key("PresharedKey", psk.File())
	}
	if p.Endpoint != "" {
		w.Line("Endpoint = %s", p.Endpoints()[0])
	}
	if len(p.AllowedIPs) > 0 {
		w.Line("AllowedIPs = %s", commas(p.AllowedIPs))
	}
	w.Given("PersistentKeepalive", p.Keepalive)
}

func commas(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}
