package apply

import (
	"net/netip"
	"strings"
)

// Programs that take resolvers by link.
const (
	Resolved   = "systemd-resolved"
	Resolvconf = "resolvconf" // openresolv's, or Debian's own
)

// A DNSChange gives the link's resolvers and domains to the host's resolver, or
// takes them away (New nil). They are spelled as in the tunnel file.
type DNSChange struct {
	Link     string
	Old, New []string
	Resolver string // [Resolved] or [Resolvconf]
	Record   string // the link's name there
}

func (c DNSChange) Resource() string  { return "dns " + c.Link }
func (c DNSChange) Inverse() []Change { c.Old, c.New = c.New, c.Old; return []Change{c} }

// Perhaps reports whether it is not known that the resolver ever took what c takes
// away: it may have no way to do so then.
func (c DNSChange) Perhaps() bool { return c.New == nil && len(c.Old) == 1 && c.Old[0] == unsure }

func (c DNSChange) String() string {
	switch {
	case c.Resolver == Resolvconf && c.New == nil:
		return "resolvconf -d " + c.Record + " -f"
	case c.Resolver == Resolvconf:
		return "printf '" + strings.ReplaceAll(ResolvConf(c.New), "\n", `\n`) + "' | resolvconf -a " + c.Record
	case c.New == nil:
		return "resolvectl revert " + c.Link
	}
	servers, domains := SplitDNS(c.New)
	_, before := SplitDNS(c.Old)
	s := "resolvectl dns " + c.Link + " " + strings.Join(servers, " ")
	switch {
	case domains != nil:
		s += "; resolvectl domain " + c.Link + " " + strings.Join(domains, " ")
	case before != nil:
		s += "; resolvectl domain " + c.Link + " ''"
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

// ResolvConf spells resolv.conf(5). It has no way to say which names to ask for,
// so "~" domains are left out. The last of several search lines would count.
func ResolvConf(dns []string) string {
	servers, domains := SplitDNS(dns)
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	var search []string
	for _, d := range domains {
		if !strings.HasPrefix(d, "~") {
			search = append(search, d)
		}
	}
	if search != nil {
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	return b.String()
}

// setDNS trusts the journal for what the resolver was told: the resolver itself
// tells only whether it knows of the link.
func setDNS(p *planner) {
	c := DNSChange{p.view.Tunnel, nil, p.view.DNS, p.state.Resolver, p.state.Record}
	set := p.mine.Entries[c.Resource()].Set
	if p.state.Link == nil || p.state.ForgotDNS {
		set = ""
	}
	if set != "" && set != unsure {
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
