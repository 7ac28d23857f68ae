package ifupdown

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// connected reports whether p is an IPv4 prefix to which the kernel makes a route for an
// address, so that another one cannot be added. Those of IPv6 have a metric of their own.
func connected(v *tunnel.View, p netip.Prefix) bool {
	return v.Table == 0 && p.Addr().Is4() && slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool {
		far, ok := v.Remotes[a.Addr()]
		return a.Masked() == p || ok && far.Masked() == p
	})
}

// routes writes the routes and their rules.
func (w *writer) routes() {
	v := w.v
	for _, r := range v.Routes {
		if connected(v, r.Prefix) {
			continue
		}
		what := family(r.Prefix) + " route %s " + r.Prefix.String()
		if r.Gateway.IsValid() {
			what += " via " + r.Gateway.String()
		}
		what += " dev $IFACE"
		if r.Gateway.IsValid() {
			what += " onlink"
		}
		switch {
		case w.policy[r.Prefix]:
			what += fmt.Sprintf(" table %d", foreign.PolicyTable)
		case v.Table != 0:
			what += fmt.Sprintf(" table %d", v.Table)
		}
		if r.Metric != 0 {
			what += fmt.Sprintf(" metric %d", r.Metric)
		}
		w.both("ip "+what, "add", "del")
	}
	for _, rule := range foreign.PolicyRules(v, w.policy) {
		w.both(rule, "add", "del")
	}
}

// both writes a command and the one that undoes it.
func (w *writer) both(command, there, back string) {
	w.option("up", command, there)
	w.option("down", command, back)
}

// family returns the option of ip(8) for the family of p.
func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "-4"
	}
	return "-6"
}

// firewall writes the rules for masquerading and for the isolation of peers.
func (w *writer) firewall() {
	v := w.v
	for _, m := range v.Masquerade {
		uplinks := []string{"! -o $IFACE"}
		if len(v.MasqueradeBy) > 0 {
			uplinks = nil
		}
		for _, u := range v.MasqueradeBy {
			uplinks = append(uplinks, "-o "+u)
		}
		for _, u := range uplinks {
			w.both(iptables(m)+" -t nat %s POSTROUTING -s "+m.String()+" "+u+" -j MASQUERADE", "-A", "-D")
		}
	}
	for _, everything := range w.families() {
		if v.MasqueradeTunnel {
			w.both(iptables(everything)+" -t nat %s POSTROUTING -o $IFACE -j MASQUERADE", "-A", "-D")
		}
		if v.Isolate {
			w.both(iptables(everything)+" %s FORWARD -i $IFACE -o $IFACE -j DROP", "-I", "-D")
		}
	}
}

// families returns the default prefix of each family that the tunnel carries.
func (w *writer) families() (list []netip.Prefix) {
	all := slices.Clone(w.v.Addresses)
	for _, p := range w.v.Peers {
		all = append(all, p.AllowedIPs...)
	}
	for _, everything := range []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		if slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Addr().Is4() == everything.Addr().Is4() }) {
			list = append(list, everything)
		}
	}
	return list
}

func iptables(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "iptables"
	}
	return "ip6tables"
}

func (w *writer) proxies() {
	if len(w.v.Proxies) == 0 {
		return
	}
	all := make([]string, len(w.v.Proxies))
	for i, a := range w.v.Proxies {
		all[i] = a.String()
	}
	w.option("up", "%s", proxyOn+strings.Join(all, " ")+proxyAdd)
	w.option("down", "%s", proxyOff+strings.Join(all, " ")+proxyDel)
}
