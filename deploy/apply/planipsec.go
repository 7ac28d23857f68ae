package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// findIPsec finds peers whose packets an IPsec policy of this host takes, INSIDE or encrypted.
func findIPsec(p *planner) {
	if len(p.state.IPsec) == 0 {
		return
	}
	list := slices.Clone(p.state.IPsec)
	slices.SortStableFunc(list, func(a, b IPsecPolicy) int { return cmp.Compare(a.Priority, b.Priority) })
	findIPsecInside(p, list)
	findIPsecOutside(p, list)
	findIPsecThrough(p, list)
}

func findIPsecInside(p *planner, list []IPsecPolicy) {
	var by []*IPsecPolicy
	lost := map[*IPsecPolicy][]string{}
	for i := range p.view.Peers {
		for _, prefix := range p.view.Peers[i].AllowedIPs {
			if !prefix.IsSingleIP() || prefix.Addr().Is4() && keepsIPsecAway(p) {
				continue
			}
			policy := policyOf(list, &sentPacket{source: ownAddresses(p, prefix.Addr()), dest: prefix.Addr()})
			if policy == nil || !policy.Blocks && (!policy.To.IsValid() || isInside(p.view, policy.To)) {
				continue
			}
			if lost[policy] == nil {
				by = append(by, policy)
			}
			lost[policy] = append(lost[policy], fmt.Sprintf("%s at %s", p.view.Peers[i].Name, prefix.Addr()))
		}
	}
	for _, policy := range by {
		does := "blocks it"
		if !policy.Blocks {
			does = "sends it to " + policy.To.String() + " instead"
		}
		p.find("what this host sends to %s, INSIDE, does not go into the tunnel: its IPsec policy for %s %s: ip xfrm policy. %s",
			firstOf(lost[policy]), policy.Dest, does, pastIPsec(p, policy))
	}
}

// noIPsec are the parameters that keep IPsec away from the tunnel: what is sent there asks no
// policy, and what comes from it need not have come by one. IPv6 does not have the first.
func noIPsec(p *planner) (sent, received string) {
	own := "net/ipv4/conf/" + p.view.Tunnel
	return own + "/disable_xfrm", own + "/disable_policy"
}

func keepsIPsecAway(p *planner) bool {
	sent, _ := noIPsec(p)
	value, _ := asked(p, sent)
	return same(value, "1")
}

// pastIPsec is how packets for the tunnel get past a policy.
func pastIPsec(p *planner, policy *IPsecPolicy) string {
	const prefix = "Give one of the two networks another prefix"
	if policy.Dest.Addr().Is6() {
		return prefix
	}
	sent, received := noIPsec(p)
	return fmt.Sprintf("%s, or keep IPsec away from the tunnel: sysctls = { %q = 1, %q = 1 } under [hosts.%s]",
		prefix, sysctlName(sent), sysctlName(received), p.view.Host)
}

// ownAddresses are the host's, INSIDE, of the family of another address.
func ownAddresses(p *planner, like netip.Addr) (own []netip.Addr) {
	for _, a := range p.view.Addresses {
		if a.Addr().Is4() == like.Is4() {
			own = append(own, a.Addr())
		}
	}
	return own
}

func findIPsecOutside(p *planner, list []IPsecPolicy) {
	var lost []string
	live := liveEndpoints(p)
	for i := range p.view.Peers {
		peer := &p.view.Peers[i]
		if peer.Endpoint == "" {
			continue
		}
		for _, a := range addressesOf(p, peer, live) {
			if !a.IsValid() {
				continue
			}
			policy := policyOf(list, &sentPacket{dest: a, protocol: protocolUDP, srcPort: listenPort(p), destPort: portAt(p, a),
				mark: wantDevice(p).FwMark})
			if policy != nil && policy.Blocks {
				lost = append(lost, fmt.Sprintf("%s at %s", peer.Name, a))
				break
			}
		}
	}
	if lost != nil {
		p.find("nothing can be sent to %s, OUTSIDE: an IPsec policy of this host blocks it: ip xfrm policy", firstOf(lost))
	}
}

// findIPsecThrough finds networks to which this host forwards nothing of what peers send: a policy
// for what a host sends is asked for what it forwards as well (ip_forward, ip6_forward).
func findIPsecThrough(p *planner, list []IPsecPolicy) {
	var lost []string
	for _, to := range p.state.Through {
		if to.Unrouted || to.Part { // a part may be closed on purpose
			continue
		}
		var from []netip.Addr
		for i := range p.view.Peers {
			for _, a := range p.view.Peers[i].AllowedIPs {
				if a.IsSingleIP() && a.Addr().Is4() == to.Addr.Is4() {
					from = append(from, a.Addr())
				}
			}
		}
		if policy := policyOf(list, &sentPacket{source: from, dest: to.Addr}); policy != nil && policy.Blocks {
			lost = append(lost, to.Prefix.String())
		}
	}
	if lost != nil {
		p.find("nothing that peers send to %s through this host gets there: an IPsec policy of this host blocks it: ip xfrm policy",
			firstOf(lost))
	}
}
