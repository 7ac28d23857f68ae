package networkd

import (
	"maps"
	"net/netip"
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
	netdev, network := newWriter(v), newWriter(v)
	netdev.netdev(s)
	network.network()
	files := []foreign.File{
		{Name: name + ".netdev", Text: netdev.Text.Bytes(), Mode: "0640", Owner: "root:systemd-network"},
		{Name: name + ".network", Text: network.Text.Bytes(), Mode: "0644"},
	}
	if v.Forward {
		conf := newWriter(v)
		conf.conf()
		files = append(files, foreign.File{Name: "/etc/systemd/networkd.conf.d/50-" + v.Tunnel + ".networkd.conf",
			Text: conf.Text.Bytes(), Mode: "0644"})
	}
	return files, nil
}

// A writer writes one file.
type writer struct{ foreign.Writer }

func newWriter(v *tunnel.View) *writer { return &writer{foreign.Writer{View: v, Is: "="}} }

func (w *writer) section(name string) {
	if w.Text.Len() > 0 {
		w.Line("")
	}
	w.Line("[%s]", name)
}

func (w *writer) netdev(s foreign.Secrets) {
	v := w.View
	inline := !s.PrivateKey.IsZero()
	if !inline {
		w.NoteReaders()
	}
	w.section("NetDev")
	w.Line("# %s", v.Host)
	w.Line("Name=%s", v.Tunnel)
	w.Line("Kind=wireguard")
	if v.Description != "" {
		w.Line("Description=%s", v.Description)
	}
	w.Given("MTUBytes", v.MTU)
	w.section("WireGuard")
	if inline {
		w.Key("PrivateKey", s.PrivateKey.File())
	} else {
		w.Line("PrivateKeyFile=%s", v.PrivateKeyFile)
	}
	w.Given("ListenPort", v.ListenPort)
	if p := policyOf(v); p != nil && v.FwMark == 0 {
		w.Note("the mark by which the rules in the .network know the encrypted packets")
		w.Given("FirewallMark", p.mark)
	} else {
		w.Given("FirewallMark", int(v.FwMark))
	}
	for _, lost := range foreign.Untried(v) {
		w.Note("%s", lost)
	}
	for i := range v.Peers {
		w.peer(&v.Peers[i], s)
	}
}

func (w *writer) peer(p *tunnel.Peer, s foreign.Secrets) {
	w.section("WireGuardPeer")
	for _, c := range foreign.Described(p.Name, p.About) {
		w.Line("# %s", c)
	}
	w.Line("PublicKey=%s", p.PublicKey)
	if psk, ok := s.PresharedKeys[p.Name]; ok && !s.PrivateKey.IsZero() {
		w.Key("PresharedKey", psk.File())
	} else if p.PresharedKeyFile != "" {
		w.Line("PresharedKeyFile=%s", p.PresharedKeyFile)
	}
	if len(p.AllowedIPs) > 0 {
		words := make([]string, len(p.AllowedIPs))
		for i, a := range p.AllowedIPs {
			words[i] = a.String()
		}
		w.Line("AllowedIPs=%s", strings.Join(words, ","))
	}
	if p.Endpoint != "" {
		w.Line("Endpoint=%s", p.Endpoints()[0])
	}
	w.Given("PersistentKeepalive", p.Keepalive)
}

func (w *writer) network() {
	v := w.View
	w.section("Match")
	w.Line("Name=%s", v.Tunnel)
	if v.NoBoot {
		w.section("Link")
		w.Line("ActivationPolicy=manual")
	}
	w.section("Network")
	for _, a := range v.Addresses {
		if !v.Remotes[a.Addr()].IsValid() {
			w.Line("Address=%s", a)
		}
	}
	for _, d := range v.DNS {
		if _, err := netip.ParseAddr(d); err == nil {
			w.Line("DNS=%s", d)
		} else {
			w.Line("Domains=%s", d)
		}
	}
	w.router()
	w.sysctls()
	for _, a := range v.Addresses {
		if remote := v.Remotes[a.Addr()]; remote.IsValid() {
			w.section("Address")
			w.Line("Address=%s\nPeer=%s", a, remote)
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
	v := w.View
	if v.Forward {
		w.Note("IPForward= is for systemd before 256, the others from 256 on")
		w.Line("IPForward=%s", of(v.ForwardIPv4, v.ForwardIPv6, "yes"))
		w.truth("IPv4Forwarding", v.ForwardIPv4)
		w.truth("IPv6Forwarding", v.ForwardIPv6)
	}
	ipv4 := slices.ContainsFunc(v.Masquerade, func(p netip.Prefix) bool { return p.Addr().Is4() })
	ipv6 := slices.ContainsFunc(v.Masquerade, func(p netip.Prefix) bool { return p.Addr().Is6() })
	switch {
	case len(v.MasqueradeBy) > 0:
		w.Note("IPMasquerade= is for all uplinks; in /etc/nftables.conf: oifname { %s } masquerade, from %s",
			strings.Join(v.MasqueradeBy, ", "), v.Tunnel)
	case ipv4 || ipv6:
		w.Line("IPMasquerade=%s", of(ipv4, ipv6, "both"))
	}
	if v.MasqueradeTunnel {
		w.Note("in the .network of the host's own network: IPMasquerade=both")
	}
	if v.Isolate {
		w.Note("systemd-networkd keeps no peers apart; in /etc/nftables.conf: iifname %s oifname %[1]s drop", v.Tunnel)
	}
	for _, a := range v.Proxies {
		w.Note("in the uplink's .network: IPv6ProxyNDPAddress=%s", a)
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
		w.Line("%s=yes", key)
	}
}

// conf writes the part of forwarding that is for all interfaces: IPv6 is forwarded only if
// net.ipv6.conf.all.forwarding is on.
func (w *writer) conf() {
	w.Note("for all interfaces: IPv6 is not forwarded otherwise. An uplink whose default route comes from")
	w.Note("router advertisements needs IPv6AcceptRA=yes in its own .network: with forwarding it is off")
	w.section("Network")
	w.truth("IPv4Forwarding", w.View.ForwardIPv4)
	w.truth("IPv6Forwarding", w.View.ForwardIPv6)
}

// sysctls writes the sysctls of the interface, as keys of the .network where there are any.
func (w *writer) sysctls() {
	v := w.View
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		if line := networkKeyOf(v.Tunnel, key, v.Sysctls[key]); line != "" {
			w.Line("%s", line)
		} else {
			w.Note("in a file of /etc/sysctl.d: %s = %s", key, v.Sysctls[key])
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
	w.Line("Destination=%s", r.Prefix)
	if r.Gateway.IsValid() {
		w.Line("Gateway=%s", r.Gateway)
		if foreign.OnLink(w.View, r) {
			w.Line("GatewayOnLink=yes")
		}
	}
	w.Given("Metric", r.Metric)
	if p != nil && foreign.NeedsTable(w.View, r) {
		w.Given("Table", p.table)
	} else {
		w.Given("Table", w.View.Table)
	}
}
