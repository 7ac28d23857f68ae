package apply

import (
	"strings"

	"wgkeys/deploy/apply/journal"
)

// setDNS trusts the journal for what the resolver was told: the resolver itself
// tells only whether it knows of the link.
func setDNS(p *planner) {
	c := DNSChange{p.view.Tunnel, nil, p.view.DNS, p.state.Resolver, p.state.Record}
	set := p.mine.Entries[c.Resource()].Set
	if p.state.Link == nil || p.state.ForgotDNS {
		set = ""
	}
	if set != "" && set != journal.Unsure {
		c.Old = strings.Fields(set)
	}
	switch want := strings.Join(p.view.DNS, " "); {
	case want == set:
	case want == "":
		c.New = nil
		p.step(c, "no longer asked for")
	case p.state.Resolver == "":
		p.note("dns: systemd-resolved does not run here and there is no resolvconf, so the resolvers %s are not set", want)
	default:
		p.step(c, "names are asked there, through the tunnel (%s)", p.state.Resolver)
	}
	noteSplit(p)
}

// noteSplit tells of domains that a resolver of one list cannot tell apart. "~."
// is every name, which is what it asks for.
func noteSplit(p *planner) {
	if p.state.Resolver != Resolvconf {
		return
	}
	for _, d := range p.view.DNS {
		if strings.HasPrefix(d, "~") && d != "~." {
			p.note("dns: resolvconf has one list of resolvers for all names, so these are asked for every name, not for %s alone; systemd-resolved can tell", d[1:])
		}
	}
}
