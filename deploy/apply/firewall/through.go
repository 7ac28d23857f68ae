package firewall

import (
	"net/netip"
	"slices"
)

// Translates reports whether a rule may give p another destination before it is routed.
func (r *Ruleset) Translates(p Packet) bool {
	return slices.ContainsFunc(r.bases(p, Prerouting), func(c *Chain) bool {
		return c.NAT && r.alone(c, Prerouting, p)&^(accepted|leaves) != 0
	})
}

// DropsBy reports whether the chain of this name in the table drops the packet of d for certain,
// whatever other chains do: it is why.
func (r *Ruleset) DropsBy(d *Drop, name string) bool {
	c := r.find(d.Chain, name)
	return c != nil && r.alone(c, d.Chain.Hook, d.Packet) == dropped
}

// alone walks a packet through one chain.
func (r *Ruleset) alone(c *Chain, hook Hook, p Packet) outcome {
	w := &walk{known: map[string]outcome{},
		packetState: packetState{rules: r, packet: p, hook: hook, chainFamily: c.Family, mark: p.firstMark(),
			connMark: r.firstConnMark(p), tracked: !r.indexed().untracks && hook != Ingress}}
	return w.chain(c, 0)
}

// Named returns the single addresses in a prefix that rules have as a destination before packets
// are routed, each once. Such a rule does not match packets to other addresses.
func (r *Ruleset) Named(within netip.Prefix) (list []netip.Addr) {
	for _, c := range r.before() {
		for _, rule := range c.Rules {
			if a := rule.destination(within.Addr().Is6()); within.Contains(a) && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// destination is the single address that the rule compares the destination with, or the zero
// Addr.
func (r Rule) destination(is6 bool) (a netip.Addr) {
	want := Load{From: Network, Offset: 16, Len: 4}
	if is6 {
		want.Offset, want.Len = 24, 16
	}
	loaded := false
	for _, e := range r {
		switch e := e.(type) {
		case Load:
			want.Register = e.Register
			loaded = e == want
		case Bitwise:
			loaded = loaded && !slices.ContainsFunc(e.Mask, func(b byte) bool { return b != 0xff })
		case Cmp:
			if loaded && len(e.Data) == want.Len {
				a, _ = netip.AddrFromSlice(e.Data)
			}
			loaded = false
		}
	}
	return a
}

// before are the tables' chains that see packets before they are routed, or may.
func (r *Ruleset) before() (list []*Chain) {
	for i := range r.Chains {
		if h := r.Chains[i].Hook; h == Prerouting || h == Ingress || h == NoHook {
			list = append(list, &r.Chains[i])
		}
	}
	return list
}
