package ifupdown

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
)

// Routes that would take the encrypted packets into the tunnel are in a table of their
// own, which packets with the mark of the tunnel do not look into: as wg-quick(8) does it,
// with its number for both.
const (
	policyTable = 51820
	markSysctl  = "net.ipv4.conf.all.src_valid_mark"
)

// policyRouted are the routes of v that hold the endpoint of a peer. What a name stands
// for is not known here: the default route holds it.
func policyRouted(v *tunnel.View) map[netip.Prefix]bool {
	if v.Table != 0 {
		return nil // who has a table has rules for it
	}
	routes := map[netip.Prefix]bool{}
	for _, r := range v.Routes {
		for _, p := range v.Peers {
			end, err := netip.ParseAddrPort(p.Endpoint)
			if p.Endpoint != "" && (err != nil && r.Prefix.Bits() == 0 || r.Prefix.Contains(end.Addr())) {
				routes[r.Prefix] = true
			}
		}
	}
	return routes
}

func (w *writer) mark() uint32 {
	if w.v.FwMark != 0 {
		return w.v.FwMark
	}
	return policyTable
}

// routes adds the routes. An address of the interface brings its own.
func (w *writer) routes() {
	v := w.v
	for _, r := range v.Routes {
		if slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool { return a.Masked() == r.Prefix }) {
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
			what += fmt.Sprintf(" table %d", policyTable)
		case v.Table != 0:
			what += fmt.Sprintf(" table %d", v.Table)
		}
		if r.Metric != 0 {
			what += fmt.Sprintf(" metric %d", r.Metric)
		}
		w.both("ip "+what, "add", "del")
	}
	for _, f := range []string{"-4", "-6"} {
		if w.policyFor(f) {
			w.both("ip "+f+" rule %s "+fmt.Sprintf("not fwmark %#x table %d", w.mark(), policyTable), "add", "del")
			w.both("ip "+f+" rule %s table main suppress_prefixlength 0", "add", "del")
		}
	}
}

func (w *writer) policyFor(f string) bool {
	for prefix := range w.policy {
		if family(prefix) == f {
			return true
		}
	}
	return false
}

// both writes a command and the one that takes it back.
func (w *writer) both(command, there, back string) {
	w.option("up", command, there)
	w.option("down", command, back)
}

// family is the option of ip(8).
func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "-4"
	}
	return "-6"
}

// masquerade has what comes from the tunnel leave under an address of the host.
func (w *writer) masquerade() {
	for _, m := range w.v.Masquerade {
		program := "iptables"
		if m.Addr().Is6() {
			program = "ip6tables"
		}
		w.both(program+" -t nat %s POSTROUTING -s "+m.String()+" ! -o $IFACE -j MASQUERADE", "-A", "-D")
	}
}

// The proxies are on the interfaces that have an IPv6 default route when the tunnel comes up.
const (
	proxyBegin = `for d in $(ip -6 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p'); do `
	proxyOn    = proxyBegin + `echo 1 >"/proc/sys/net/ipv6/conf/$d/proxy_ndp"; for a in `
	proxyOff   = proxyBegin + `for a in `
	proxyAdd   = `; do ip -6 neigh replace proxy "$a" dev "$d"; done; done`
	proxyDel   = `; do ip -6 neigh del proxy "$a" dev "$d"; done; done`
)

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

// written takes in a command as Format writes it and which is more than one simple
// command: ok, or it is none.
func (b *builder) written(at foreign.Pos, command string) bool {
	if housekeeping(command) {
		return true
	}
	if middle, ok := between(command, proxyOff, proxyDel); ok && addresses(middle) != nil {
		return true
	}
	middle, ok := between(command, proxyOn, proxyAdd)
	list := addresses(middle)
	if ok && list != nil {
		b.d.Proxies = append(b.d.Proxies, list...)
		return true
	}
	return b.rule(command)
}

func between(s, begin, end string) (string, bool) {
	s, first := strings.CutPrefix(s, begin)
	s, last := strings.CutSuffix(s, end)
	return s, first && last
}

// addresses are the IPv6 addresses between blanks; nil: something else is among them.
func addresses(s string) (list []netip.Addr) {
	for word := range strings.FieldsSeq(s) {
		a, err := netip.ParseAddr(word)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return nil
		}
		list = append(list, a)
	}
	return list
}

// rule takes in the two rules of a policy routed default route.
func (b *builder) rule(command string) bool {
	w := strings.Fields(command)
	if len(w) < 4 || w[0] != "ip" || w[1] != "-4" && w[1] != "-6" || w[2] != "rule" {
		return false
	}
	rest := strings.Join(w[4:], " ")
	var mark uint32
	var table int
	n, err := fmt.Sscanf(rest, "not fwmark %v table %d", &mark, &table)
	switch {
	case rest == "table main suppress_prefixlength 0":
	case err == nil && n == 2 && table == policyTable && rest == fmt.Sprintf("not fwmark %#x table %d", mark, table):
		b.policy = true
	default:
		return false
	}
	return true
}

// settlePolicy makes plain routes of those that the rules are for.
func (b *builder) settlePolicy() {
	if !b.policy {
		return
	}
	d := b.d
	for i := range d.Routes {
		if d.Routes[i].Table == policyTable {
			d.Routes[i].Table = 0
		}
	}
	if d.FwMark == policyTable {
		d.FwMark = 0
	}
	if delete(d.Sysctls, markSysctl); len(d.Sysctls) == 0 {
		d.Sysctls = nil
	}
}
