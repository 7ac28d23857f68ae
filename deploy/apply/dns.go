package apply

import (
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// Programs that take resolvers per link.
const (
	Resolved   = "systemd-resolved"
	Resolvconf = "resolvconf" // openresolv's, or Debian's own
)

// A DNSChange gives the link's resolvers and domains to the host's resolver, or removes
// them (New nil). They are spelled as in the tunnel file.
type DNSChange struct {
	Link     string
	Old, New []string
	Resolver string // [Resolved] or [Resolvconf]
	Record   string // the link's name there
}

func (c DNSChange) Resource() journal.Resource { return journal.DNS.Of(c.Link) }
func (c DNSChange) Inverse() []Change          { c.Old, c.New = c.New, c.Old; return []Change{c} }

// Perhaps reports whether the resolver may never have got what c removes: then a failure
// may mean that there was nothing to remove.
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
	servers, domains := tunnel.SplitDNS(c.New)
	_, before := tunnel.SplitDNS(c.Old)
	s := "resolvectl dns " + c.Link + " " + strings.Join(servers, " ")
	switch {
	case domains != nil:
		s += "; resolvectl domain " + c.Link + " " + strings.Join(domains, " ")
	case before != nil:
		s += "; resolvectl domain " + c.Link + " ''"
	}
	return s
}

// ResolvConf formats resolv.conf(5). That cannot say which names to ask for, so "~" domains
// are left out. There is one search line, since only the last one would count.
func ResolvConf(dns []string) string {
	servers, domains := tunnel.SplitDNS(dns)
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

// traits: resolvers belong to another program, and its failure is no reason to have no
// tunnel.
func (DNSChange) traits() traits      { return traits{optional: true} }
func (DNSChange) TouchesKernel() bool { return true }
