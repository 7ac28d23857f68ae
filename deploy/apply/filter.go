package apply

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Filter is the tunnel's own nftables table, "wgkeys-TUNNEL" of family inet.
type Filter struct {
	Link       string
	Masquerade []netip.Prefix // INSIDE sources that leave by other interfaces
	Guard      []netip.Addr   // INSIDE addresses that no other interface may send to
	Mark       uint32         // kept with its connections, for the reverse path check
	Redirect   Redirect       // of the port that the device had before
}

// A FilterChange makes (Old nil), replaces or removes (New nil) the table, each
// in one transaction.
type FilterChange struct {
	Link string
	Old  *Filter
	New  *Filter
}

func (c FilterChange) Resource() string { return "filter " + c.Link }
func (c FilterChange) Inverse() []Change {
	return []Change{FilterChange{c.Link, c.New, c.Old}}
}

func (c FilterChange) String() string {
	if c.New == nil {
		return "nft delete table inet " + FilterTable(c.Link)
	}
	return "nft add table inet " + FilterTable(c.Link) + " { " + c.New.String() + " }"
}

// FilterTable is the name of a tunnel's table.
func FilterTable(link string) string { return "wgkeys-" + link }

func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	var parts []string
	for _, m := range f.Masquerade {
		parts = append(parts, fmt.Sprintf("%s saddr %s oifname != %s masquerade", family(m.Addr()), m, f.Link))
	}
	for _, g := range f.Guard {
		parts = append(parts, fmt.Sprintf("%s daddr %s iifname != %s fib saddr type != local drop", family(g), g, f.Link))
	}
	if f.Mark != 0 {
		parts = append(parts, fmt.Sprintf("udp mark %#x kept with its connection", f.Mark))
	}
	if r := f.Redirect; r != (Redirect{}) {
		parts = append(parts, fmt.Sprintf("udp dport %d goes to %d where that is open", r.From, r.To))
	}
	return strings.Join(parts, "; ")
}

// ParseFilter reads what [Filter.String] wrote, or returns nil.
func ParseFilter(link, text string) *Filter {
	f := &Filter{Link: link}
	for part := range strings.SplitSeq(text, "; ") {
		switch w := strings.Fields(part); {
		case len(w) > 2 && w[1] == "saddr":
			if m, err := netip.ParsePrefix(w[2]); err == nil {
				f.Masquerade = append(f.Masquerade, m)
			}
		case len(w) > 2 && w[1] == "daddr":
			if g, err := netip.ParseAddr(w[2]); err == nil {
				f.Guard = append(f.Guard, g)
			}
		case len(w) > 2 && w[1] == "mark":
			if n, err := strconv.ParseUint(w[2], 0, 32); err == nil {
				f.Mark = uint32(n)
			}
		case len(w) > 2 && w[1] == "dport":
			// What is not so leaves the zero value, and another text.
			fmt.Sscanf(part, "udp dport %d goes to %d", &f.Redirect.From, &f.Redirect.To)
		}
	}
	if f.String() != text || text == "" {
		return nil
	}
	return f
}

// Rules is how many rules the table has.
func (f *Filter) Rules() int {
	if f == nil {
		return 0
	}
	n := len(f.Masquerade) + len(f.Guard)
	if f.Mark != 0 {
		n += 2
	}
	if f.Redirect != (Redirect{}) {
		n += 5
		if f.Mark != 0 {
			n++
		}
	}
	return n
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// wantFilter is the table that the view asks for, or nil.
func (p *planner) wantFilter() *Filter {
	f := &Filter{Link: p.view.Tunnel, Masquerade: p.view.Masquerade}
	if p.capture.mark != 0 {
		f.Mark = p.capture.mark
		for _, a := range p.view.Addresses {
			if a.Addr().Is4() && p.capture.ipv4 || !a.Addr().Is4() && p.capture.ipv6 {
				f.Guard = append(f.Guard, a.Addr())
			}
		}
	}
	if f.Rules() == 0 {
		return nil
	}
	return f
}

// unmarksFilter reports whether the table loses the mark: that waits until no
// rule looks at it, or the reverse path check would drop encrypted packets.
func (p *planner) unmarksFilter() bool {
	old := ParseFilter(p.view.Tunnel, p.mine.Entries[FilterChange{Link: p.view.Tunnel}.Resource()].Set)
	return old != nil && old.Mark != 0 && p.capture.mark == 0
}

// filterNow is the table as it will be after the steps so far: what the journal
// says of it, how many rules it has, and whether they are others.
type filterNow struct {
	set     string
	rules   int
	differs bool
}

func (p *planner) setFilter() {
	want := p.wantFilter()
	why := "no longer needed"
	if want != nil {
		why = whyFilter(want)
	}
	p.changeFilter(want, why)
}

func (p *planner) changeFilter(want *Filter, why string) {
	now := p.filter
	next := filterNow{want.String(), want.Rules(), false}
	switch {
	case now == next:
		return
	case want == nil && now.set == "":
		p.note("nftables table inet %s was not made by wgkeys: left alone", FilterTable(p.view.Tunnel))
		return
	}
	p.step(FilterChange{p.view.Tunnel, ParseFilter(p.view.Tunnel, now.set), want}, "%s", why)
	p.filter = next
}

func whyFilter(f *Filter) string {
	var why []string
	if f.Masquerade != nil {
		why = append(why, "INSIDE sources leave under this host's address, OUTSIDE")
	}
	if f.Mark != 0 {
		why = append(why, "nobody else on the link can send to the INSIDE addresses")
	}
	return strings.Join(why, "; ")
}
