package apply

import (
	"net/netip"
	"strings"
)

// A DNSChange gives the link's resolvers and domains to the host's resolver, or
// takes them away (New nil). They are spelled as in the tunnel file.
type DNSChange struct {
	Link     string
	Old, New []string
}

func (c DNSChange) Resource() string  { return "dns " + c.Link }
func (c DNSChange) Inverse() []Change { return []Change{DNSChange{c.Link, c.New, c.Old}} }

func (c DNSChange) String() string {
	if c.New == nil {
		return "resolvectl revert " + c.Link
	}
	servers, domains := SplitDNS(c.New)
	s := "resolvectl dns " + c.Link + " " + strings.Join(servers, " ")
	if domains != nil {
		s += "; resolvectl domain " + c.Link + " " + strings.Join(domains, " ")
	}
	return s
}

// SplitDNS tells the addresses of resolvers from the domains.
func SplitDNS(dns []string) (servers, domains []string) {
	for _, d := range dns {
		if _, err := netip.ParseAddr(d); err == nil {
			servers = append(servers, d)
		} else {
			domains = append(domains, d)
		}
	}
	return servers, domains
}

// setDNS trusts the journal: the resolver forgets a link only with the link.
func (p *planner) setDNS() {
	resource := DNSChange{Link: p.view.Tunnel}.Resource()
	set := p.mine.Entries[resource].Set
	if p.state.Link == nil {
		set = ""
	}
	var old []string
	if set != "" && set != unsure {
		old = strings.Fields(set)
	}
	switch want := strings.Join(p.view.DNS, " "); {
	case want == set:
	case want == "":
		p.step(DNSChange{p.view.Tunnel, old, nil}, "no longer asked for")
	case p.state.Resolver == "":
		p.note("dns: neither systemd-resolved nor resolvconf is here, so the resolvers %s are not set", want)
	default:
		p.step(DNSChange{p.view.Tunnel, old, p.view.DNS}, "names are asked there, through the tunnel (%s)", p.state.Resolver)
	}
}
