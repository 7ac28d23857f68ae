package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// The priorities that the kernel itself would choose, just before main's 32766.
const (
	prioritySpare  = 32763 // while the mark changes
	priorityMain   = 32764 // what is more specific than a default route comes first
	priorityTunnel = 32765
	firstTable     = 51820 // as wg-quick(8) has it

	// RT_TABLE_DEFAULT, _MAIN and _LOCAL
	firstKernelTable, lastKernelTable = 253, 255
)

// A capture is what it takes where a route of the tunnel would catch the
// tunnel's own encrypted packets: they carry a mark, the routes are in a table
// of their own, and everything without the mark looks there.
type capture struct {
	mark       uint32
	table      int
	ipv4, ipv6 bool
	routes     map[netip.Prefix]bool // that would catch encrypted packets
}

// captured finds whether it takes that. A host that sets table sees to its
// rules itself.
func (p *planner) captured() (capture, error) {
	var c capture
	if normalTable(p.view.Table) != 0 {
		return c, nil
	}
	c.routes = p.capturing()
	for prefix := range c.routes {
		c.ipv4 = c.ipv4 || prefix.Addr().Is4()
		c.ipv6 = c.ipv6 || !prefix.Addr().Is4()
	}
	if !c.ipv4 && !c.ipv6 {
		return c, nil
	}
	c.mark = p.mark()
	c.table = int(c.mark)
	if c.mark >= firstKernelTable && c.mark <= lastKernelTable {
		return c, fault.New("cannot use the mark of tunnel", p.view.Tunnel,
			fmt.Sprintf("fwmark %d is also the number of its routing table, and tables 253 to 255 are the kernel's", c.mark),
			"leave fwmark out of the tunnel file, or choose another")
	}
	return c, p.refuseSecond(c)
}

// capturing returns the routes in which an endpoint lies. It looks an endpoint
// up once for each length of prefix that there is: to compare all routes with
// all endpoints of ten thousand peers would take longer than all else.
func (p *planner) capturing() map[netip.Prefix]bool {
	routes, lengths := map[netip.Prefix]bool{}, map[int]bool{}
	for _, r := range p.view.Routes {
		routes[r.Prefix], lengths[r.Prefix.Bits()] = true, true
	}
	found := map[netip.Prefix]bool{}
	for _, addr := range p.endpoints() {
		for bits := range lengths {
			// A zone is a link's, and no route's.
			if prefix, err := addr.Prefix(bits); err == nil && addr.Zone() == "" && routes[prefix] {
				found[prefix] = true
			}
		}
	}
	for prefix := range routes {
		if prefix.Bits() < wide && !p.endpointsElsewhere(prefix) {
			found[prefix] = true
		}
	}
	return found
}

// wide is the length below which a route is taken to be everything, or half of
// it: an endpoint that nobody knows yet is likely to lie there.
const wide = 8

// endpointsElsewhere reports whether the encrypted packets of all peers are
// known to be of the other family than prefix. A peer whose name is not
// resolved yet, or that has yet to come to us, may be of either.
func (p *planner) endpointsElsewhere(prefix netip.Prefix) bool {
	live := p.liveEndpoints()
	for i := range p.view.Peers {
		want := &p.view.Peers[i]
		if want.Endpoint == "" {
			return false // wherever it is now, tomorrow it comes from elsewhere
		}
		known := false
		for _, addr := range p.addressesOf(want, live) {
			if addr.IsValid() && addr.Is4() == prefix.Addr().Is4() {
				return false
			}
			known = known || addr.IsValid()
		}
		if !known {
			return false
		}
	}
	return true
}

func (p *planner) liveEndpoints() map[keyring.PublicKey]netip.Addr {
	live := make(map[keyring.PublicKey]netip.Addr, len(p.state.Peers))
	for _, q := range p.state.Peers {
		live[q.PublicKey] = q.Endpoint.Addr()
	}
	return live
}

// endpoints are the OUTSIDE addresses of the peers, as far as they are known.
func (p *planner) endpoints() []netip.Addr {
	live := p.liveEndpoints()
	var addrs []netip.Addr
	for i := range p.view.Peers {
		want := &p.view.Peers[i]
		if want.Endpoint == "" {
			continue
		}
		for _, addr := range p.addressesOf(want, live) {
			if addr.IsValid() {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

func literal(peer *tunnel.Peer) netip.Addr {
	addr, _ := netip.ParseAddrPort(peer.Endpoint)
	return addr.Addr()
}

// mark is the view's, the one chosen at an earlier apply, or the first that no
// rule speaks of.
func (p *planner) mark() uint32 {
	if p.view.FwMark != 0 {
		return p.view.FwMark
	}
	taken := map[int]bool{}
	for _, table := range p.state.TakenTables {
		taken[table] = true
	}
	for _, r := range p.state.Rules {
		if p.isMine(RuleChange{Rule: r}.Resource()) && r.NotMark >= firstTable {
			return r.NotMark
		}
		taken[int(r.NotMark)] = true
	}
	mark := firstTable
	for taken[mark] {
		mark++
	}
	return uint32(mark)
}

// refuseSecond: two tunnels that each catch all that does not carry their mark
// would catch each other's encrypted packets.
func (p *planner) refuseSecond(c capture) error {
	for _, r := range p.state.Rules {
		mine := p.isMine(RuleChange{Rule: r}.Resource())
		if mine || r.NotMark == 0 || r.IPv6 && !c.ipv6 || !r.IPv6 && !c.ipv4 {
			continue
		}
		return fault.New("cannot route the endpoint's own family through tunnel", p.view.Tunnel,
			fmt.Sprintf("another tunnel does so already (ip rule: %s), and each would catch the other's packets", r),
			`narrow its routes, or set table = N for this host and add the rules for it yourself`)
	}
	return nil
}

// rules are what the capture needs, in the order in which they are added.
func (c capture) rules() []Rule {
	var rules []Rule
	for _, ipv6 := range []bool{false, true} {
		if ipv6 && c.ipv6 || !ipv6 && c.ipv4 {
			rules = append(rules,
				Rule{IPv6: ipv6, Priority: priorityMain, Suppress: true},
				Rule{IPv6: ipv6, Priority: priorityTunnel, NotMark: c.mark, Table: c.table})
		}
	}
	return rules
}

// setRules comes before the routes: without them a captured route would be
// looked at by nobody.
func (p *planner) setRules() {
	c := p.capture
	if c.ipv4 {
		// The mark counts in the reverse path check (fib_validate_source).
		p.set("net/ipv4/conf/all/src_valid_mark", "1", "answers to %s are looked up with their mark", p.view.Tunnel)
	}
	for _, r := range append(p.spares(), c.rules()...) {
		if !slices.Contains(p.state.Rules, r) {
			p.step(RuleChange{r, true}, "%s", whyRule(r))
		}
	}
}

func whyRule(r Rule) string {
	switch {
	case r.Suppress:
		return "routes more specific than a default route stay as they are"
	case r.Mark != 0:
		return "encrypted packets, OUTSIDE, pass while their mark changes"
	}
	return "all but the encrypted packets, OUTSIDE, look for the tunnel's routes"
}

func (p *planner) removeRules() {
	want := append(p.spares(), p.capture.rules()...)
	for _, r := range p.state.Rules {
		if c := (RuleChange{r, false}); p.isMine(c.Resource()) && !slices.Contains(want, r) {
			p.step(c, "no longer needed")
		}
	}
}

// spared reports whether a rule of ours spares the packets of a mark that is to
// change. Without the mark they would go into the tunnel that they make up, so
// it stays as long as the rule.
func (p *planner) spared() bool {
	old := p.state.Device.FwMark
	return old != 0 && old != p.wantDevice().FwMark && slices.ContainsFunc(p.state.Rules, func(r Rule) bool {
		return r.NotMark == old && p.isMine(RuleChange{Rule: r}.Resource())
	})
}

// spares are the rules that let packets of the old mark pass the new rules.
func (p *planner) spares() []Rule {
	if !p.spared() {
		return nil
	}
	var rules []Rule
	for _, r := range p.capture.rules() {
		if r.NotMark != 0 {
			rules = append(rules, Rule{IPv6: r.IPv6, Priority: prioritySpare, Mark: p.state.Device.FwMark})
		}
	}
	return rules
}

// setMark changes a mark once no rule spares the old one any more.
func (p *planner) setMark() {
	if !p.spared() {
		return
	}
	want := p.wantDevice()
	old := want
	old.FwMark = p.state.Device.FwMark
	p.changeDevice(old, want)
	for _, r := range p.spares() {
		p.step(RuleChange{r, false}, "the mark has changed")
	}
}
