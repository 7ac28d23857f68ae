package apply

import (
	"net/netip"
	"strings"

	"wgkeys/deploy/apply/journal"
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

func (c DNSChange) Resource() journal.Resource { return journal.DNS.Of(c.Link) }
func (c DNSChange) Inverse() []Change          { c.Old, c.New = c.New, c.Old; return []Change{c} }

// Perhaps reports whether it is not known that the resolver ever took what c takes
// away: it may have no way to do so then.
func (c DNSChange) Perhaps() bool {
	return c.New == nil && len(c.Old) == 1 && c.Old[0] == journal.Unsure
}

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

func (c DNSChange) entries(_ journal.Entries) []line {
	if c.New != nil {
		return []line{{c.Resource(), journal.Entry{Set: strings.Join(c.New, " ")}}}
	}
	return nil
}

func (c DNSChange) restores(_ journal.Entry, _ journal.Entries) bool { return len(c.entries(nil)) == 0 }
func (DNSChange) trusted() bool                                      { return true }

// traits: resolvers are another program's, and its trouble is no reason to have no tunnel.
func (DNSChange) traits() traits      { return traits{optional: true} }
func (DNSChange) TouchesKernel() bool { return true }
