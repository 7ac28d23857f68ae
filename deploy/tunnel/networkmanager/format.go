package networkmanager

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// Format writes v as a keyfile of NetworkManager. It holds the keys, because NetworkManager
// cannot read one from a file, so without secrets there is an error.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	if s.PrivateKey.IsZero() {
		return nil, fault.NewHost("no profile of NetworkManager for", v.Host, "it takes no key from a file: the keys are "+
			"in the profile", "the same with --secret")
	}
	w := &writer{Writer: foreign.Writer{View: v, Is: "="}}
	if err := w.plan(); err != nil {
		return nil, err
	}
	id := strings.ReplaceAll(cmp.Or(v.Description, v.Tunnel), `\`, `\\`)
	w.Line("[connection]\n# %s\nid=%s\ntype=wireguard\ninterface-name=%s", v.Host, id, v.Tunnel)
	if v.NoBoot {
		w.Line("autoconnect=false")
	}
	w.device(s)
	for i := range v.Peers {
		w.peer(&v.Peers[i], s)
	}
	w.NoteHost("NetworkManager masquerades no tunnel")
	for _, lost := range slices.Concat(foreign.Untried(v), foreign.InTheClear(v)) {
		w.Note("%s", lost)
	}
	w.family(ipv4)
	w.family(ipv6)
	return []foreign.File{{Name: "/etc/NetworkManager/system-connections/" + v.Tunnel + ".nmconnection",
		Text: w.Text.Bytes(), Mode: "0600"}}, nil
}

// The families, for functions that take one as is6.
const (
	ipv4 = false
	ipv6 = true
)

// A writer writes one profile.
type writer struct {
	foreign.Writer
	peerRoutes bool // NetworkManager makes the routes of the allowed IPs
	auto       bool // and a table, a mark and rules for default routes
}

// plan decides who makes the routes. NetworkManager can keep the encrypted packets away
// from a default route, but not from other routes.
func (w *writer) plan() error {
	v := w.View
	if len(v.Remotes) > 0 {
		return fault.NewHost("no profile of NetworkManager for", v.Host, "it has no point-to-point addresses",
			"--format networkd")
	}
	if w.has(ipv4) && !slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() }) {
		return fault.NewHost("no profile of NetworkManager for", v.Host,
			"it has no IPv4 routes where there is no IPv4 address", "--format networkd")
	}
	w.peerRoutes = w.allRouted()
	for _, r := range v.Routes {
		if !foreign.NeedsTable(v, r) {
			continue
		}
		if r.Prefix.Bits() > 0 || !w.peerRoutes {
			return fault.NewHost("no profile of NetworkManager for", v.Host, "the route to "+r.Prefix.String()+" needs a table "+
				"and rules of its own, which NetworkManager makes for 0.0.0.0/0 and ::/0 of all allowed IPs alone",
				"--format networkd")
		}
		w.auto = true
	}
	for _, is6 := range []bool{ipv4, ipv6} {
		if !w.has(is6) && slices.ContainsFunc(v.DNS, func(s string) bool { return isOf(s, is6) }) {
			return fault.NewHost("no profile of NetworkManager for", v.Host, "a resolver is of a family without address and "+
				"route here", "--format wg-quick")
		}
	}
	return nil
}

// isOf tells an address of a family.
func isOf(s string, is6 bool) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() == is6
}

// allRouted reports whether there is a route for each allowed IP and no other. The networks
// of the addresses do not count: the kernel makes the routes to them.
func (w *writer) allRouted() bool {
	want := map[netip.Prefix]bool{}
	for _, p := range w.View.Peers {
		for _, a := range p.AllowedIPs {
			want[a] = a.Addr().Is4() || w.has(ipv6) // without IPv6 it makes no IPv6 routes
		}
	}
	maps.DeleteFunc(want, func(_ netip.Prefix, wanted bool) bool { return !wanted })
	for _, a := range w.View.Addresses {
		if w.View.Table == 0 {
			delete(want, a.Masked())
		}
	}
	for _, r := range w.View.Routes {
		if !want[r.Prefix] || r.Gateway.IsValid() || r.Metric != w.View.Routes[0].Metric {
			return false
		}
		delete(want, r.Prefix)
	}
	return len(want) == 0
}

func (w *writer) device(s foreign.Secrets) {
	v := w.View
	w.Line("\n[wireguard]")
	w.Key("private-key", s.PrivateKey.File())
	w.Given("listen-port", v.ListenPort)
	w.Given("mtu", v.MTU)
	w.Given("fwmark", int(v.FwMark))
	switch {
	case !w.peerRoutes:
		w.Line("peer-routes=false")
		if w.allowsAll() { // otherwise there would be a mark and rules without a default route
			w.Line("ip4-auto-default-route=0\nip6-auto-default-route=0")
		}
	case !w.auto && slices.ContainsFunc(v.Routes, func(r tunnel.Route) bool { return r.Prefix.Bits() == 0 }):
		w.Note("the default routes are beside those of the uplinks, without a mark and rules")
		w.Line("ip4-auto-default-route=0\nip6-auto-default-route=0")
	case w.auto:
		w.Note("NetworkManager gives a default route a table, a mark and rules (ip4-auto-default-route)")
	}
}

// allowsAll reports whether a peer is allowed a default route. NetworkManager makes its
// mark and rules if one is.
func (w *writer) allowsAll() bool {
	return slices.ContainsFunc(w.View.Peers, func(p tunnel.Peer) bool {
		return slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a.Bits() == 0 })
	})
}

func (w *writer) peer(p *tunnel.Peer, s foreign.Secrets) {
	w.Line("\n[%s%s]", peerGroup, p.PublicKey)
	for _, c := range foreign.Described(p.Name, p.About) {
		w.Line("# %s", c)
	}
	if p.Endpoint != "" {
		w.Line("endpoint=%s", p.Endpoints()[0])
	}
	if psk, ok := s.PresharedKeys[p.Name]; ok {
		w.Key("preshared-key", psk.File())
		w.Line("preshared-key-flags=0")
	}
	if len(p.AllowedIPs) > 0 {
		w.Text.WriteString("allowed-ips=")
		for _, a := range p.AllowedIPs {
			w.Text.WriteString(a.String() + ";")
		}
		w.Line("")
	}
	w.Given("persistent-keepalive", p.Keepalive)
}

// has reports whether a family has an address or a route.
func (w *writer) has(is6 bool) bool {
	return slices.ContainsFunc(w.View.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() == is6 }) ||
		slices.ContainsFunc(w.View.Routes, func(r tunnel.Route) bool { return r.Prefix.Addr().Is6() == is6 })
}

// family writes [ipv4] or [ipv6].
func (w *writer) family(is6 bool) {
	v := w.View
	w.Line("\n[%s]", map[bool]string{false: "ipv4", true: "ipv6"}[is6])
	if !w.has(is6) {
		w.Line("method=%s", w.none(is6))
		return
	}
	w.Line("method=%s", w.method(is6))
	if is6 { // the default, eui64, needs a hardware address, which WireGuard lacks
		w.Line("addr-gen-mode=stable-privacy")
	}
	n := 0
	for _, a := range v.Addresses {
		if a.Addr().Is6() == is6 {
			n++
			w.Line("address%d=%s", n, a)
		}
	}
	w.dns(is6)
	w.Given("route-table", v.Table)
	w.metric(is6)
	if v.Forward && (is6 && v.ForwardIPv6 || !is6 && v.ForwardIPv4) {
		w.Note("from NetworkManager 1.54 on")
		w.Line("forwarding=1")
	}
	w.routes(is6)
}

// none is the method of a family without addresses and routes. IPv6 is left as the host
// has it, but where peers are allowed prefixes of it, to which there would be routes.
func (w *writer) none(is6 bool) string {
	allowed := func(p tunnel.Peer) bool {
		return slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a.Addr().Is6() })
	}
	if is6 && !slices.ContainsFunc(w.View.Peers, allowed) {
		return "ignore"
	}
	return "disabled"
}

// method is manual only with an address (libnm's nm-setting-ip-config.c refuses it
// without); link-local has routes too.
func (w *writer) method(is6 bool) string {
	if is6 && !slices.ContainsFunc(w.View.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() }) {
		return "link-local"
	}
	return "manual"
}

// dns writes the resolvers of a family, and all domains in the first family that is
// there.
func (w *writer) dns(is6 bool) {
	var servers, domains strings.Builder
	for _, d := range w.View.DNS {
		switch {
		case isOf(d, is6):
			servers.WriteString(d + ";")
		case !isOf(d, !is6) && (!is6 || !w.has(ipv4)):
			domains.WriteString(strings.Replace(d, "~.", "~", 1) + ";")
		}
	}
	if servers.Len() > 0 {
		w.Line("dns=%s", servers.String())
	}
	if domains.Len() > 0 {
		w.Line("dns-search=%s", domains.String())
	}
}

// metric writes that of all routes: NetworkManager's own would be 50, and where nothing
// is said the kernel has 0 for IPv4 and 1024 for IPv6.
func (w *writer) metric(is6 bool) {
	v := w.View
	ofFamily := func(r tunnel.Route) bool { return r.Prefix.Addr().Is6() == is6 && !foreign.NeedsTable(v, r) }
	i := slices.IndexFunc(v.Routes, ofFamily)
	if i < 0 || !w.peerRoutes {
		return
	}
	if n := v.Routes[i].Metric; n != 0 || !is6 {
		w.Line("route-metric=%d", n)
	} else {
		w.Line("route-metric=1024")
	}
}

// routes writes those that NetworkManager does not make by itself.
func (w *writer) routes(is6 bool) {
	n := 0
	for _, r := range w.View.Routes {
		if w.peerRoutes || r.Prefix.Addr().Is6() != is6 {
			continue
		}
		n++
		gateway, metric := "", r.Metric
		if r.Gateway.IsValid() {
			gateway = r.Gateway.String()
		}
		if metric == 0 && is6 {
			metric = 1024
		}
		w.Line("route%d=%s,%s,%d", n, r.Prefix, gateway, metric)
		if foreign.OnLink(w.View, r) {
			w.Line("route%d_options=onlink=true", n)
		}
	}
}
