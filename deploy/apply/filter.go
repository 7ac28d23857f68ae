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
	Masquerade []netip.Prefix // INSIDE sources that leave by uplinks
	Inner      []string       // interfaces that are no uplinks
	Guard      []netip.Addr   // INSIDE addresses that no uplink may send to
	Mark       Mark           // of what comes in by uplinks and of the answers to it, of the families below
	IPv4, IPv6 bool
	Label      bool     // of connections that came in by uplinks and are forwarded
	Redirect   Redirect // of the port that the device had before
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
	outer := append([]string{f.Link}, f.Inner...)
	for _, m := range f.Masquerade {
		parts = append(parts, fmt.Sprintf("%s saddr %s oifname != %s masquerade", family(m.Addr()), m, strings.Join(outer, ",")))
	}
	for _, g := range f.Guard {
		parts = append(parts, fmt.Sprintf("%s daddr %s iifname != %s fib saddr type != local drop", family(g), g, strings.Join(outer, ",")))
	}
	if f.Mark.Value != 0 {
		parts = append(parts, "meta mark "+f.Mark.String()+" for "+f.families()+" by uplinks and the answers")
	}
	if f.Label {
		parts = append(parts, fmt.Sprintf("ct label %d for those that are forwarded", Label))
	}
	if r := f.Redirect; r != (Redirect{}) {
		parts = append(parts, fmt.Sprintf("udp dport %d goes to %d where that is open", r.From, r.To))
	}
	return strings.Join(parts, "; ")
}

// Label is the number of the label of forwarded connections: of 128 that there are,
// one that no list of names begins with (connlabel.conf).
const Label = 103

func (f *Filter) families() string {
	switch {
	case f.IPv4 && f.IPv6:
		return "ip,ip6"
	case f.IPv6:
		return "ip6"
	}
	return "ip"
}

// ParseFilter reads what [Filter.String] wrote, or returns nil.
func ParseFilter(link, text string) *Filter {
	f := &Filter{Link: link}
	for part := range strings.SplitSeq(text, "; ") {
		switch w := strings.Fields(part); {
		case len(w) > 5 && w[1] == "saddr":
			if m, err := netip.ParsePrefix(w[2]); err == nil {
				f.Masquerade = append(f.Masquerade, m)
			}
			if _, inner, ok := strings.Cut(w[5], ","); ok {
				f.Inner = strings.Split(inner, ",")
			}
		case len(w) > 5 && w[1] == "daddr":
			if g, err := netip.ParseAddr(w[2]); err == nil {
				f.Guard = append(f.Guard, g)
			}
			if _, inner, ok := strings.Cut(w[5], ","); ok {
				f.Inner = strings.Split(inner, ",")
			}
		case len(w) > 4 && w[1] == "mark":
			f.Mark = parseMark(w[2])
			f.IPv4, f.IPv6 = !strings.Contains(w[4], "ip6"), strings.Contains(w[4], "ip6")
			f.IPv4 = f.IPv4 || strings.HasPrefix(w[4], "ip,")
		case len(w) > 2 && w[1] == "label":
			f.Label = true
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

// parseMark reads what [Mark.String] wrote, or returns the zero value.
func parseMark(text string) Mark {
	value, mask, _ := strings.Cut(text, "/")
	v, _ := strconv.ParseUint(value, 0, 32)
	m, _ := strconv.ParseUint(mask, 0, 32)
	return Mark{uint32(v), uint32(m)}
}

// Rules is how many rules the table has.
func (f *Filter) Rules() int {
	if f == nil {
		return 0
	}
	n := len(f.Masquerade) + len(f.Guard)
	if f.Mark.Value != 0 {
		n += 13
		if f.IPv4 && f.IPv6 {
			n -= 1
		}
	}
	if f.Label {
		n++
	}
	if f.Redirect != (Redirect{}) {
		n += 5
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
func wantFilter(p *planner) *Filter {
	f := &Filter{Link: p.view.Tunnel, Masquerade: p.view.Masquerade}
	if c := p.policyRouting; c.mark.Value != 0 {
		f.Mark, f.IPv4, f.IPv6, f.Label = c.mark, c.ipv4, c.ipv6, p.state.Labels
		for _, a := range p.view.Addresses {
			if a.Addr().Is4() && c.ipv4 || !a.Addr().Is4() && c.ipv6 {
				f.Guard = append(f.Guard, a.Addr())
			}
		}
	}
	if f.Masquerade != nil || f.Guard != nil {
		f.Inner = p.state.Inner
	}
	if f.Rules() == 0 {
		return nil
	}
	return f
}

// unmarksFilter reports whether the table loses the mark: that waits until no
// rule looks at it, or the reverse path check would drop encrypted packets. The
// version before, of which the text is another, marked them too.
func unmarksFilter(p *planner) bool {
	set := p.mine.Entries[FilterChange{Link: p.view.Tunnel}.Resource()].Set
	return strings.Contains(set, " mark ") && p.policyRouting.mark.Value == 0
}

// filterNow is the table as it will be after the steps so far: what the journal
// says of it, how many rules it has, and whether they are others.
type filterNow struct {
	set     string
	rules   int
	differs bool
}

// A filterPlanner is for the tunnel's table.
type filterPlanner struct {
	*planner
	now filterNow
}

func newFilterPlanner(p *planner) *filterPlanner {
	set := p.mine.Entries[FilterChange{Link: p.view.Tunnel}.Resource()].Set
	return &filterPlanner{p, filterNow{set, p.state.FilterRules, p.state.FilterDiffers}}
}

func (p *filterPlanner) setFilter() {
	want := wantFilter(p.planner)
	why := "no longer needed"
	if want != nil {
		why = whyFilter(want)
	}
	p.changeFilter(want, why)
}

func (p *filterPlanner) changeFilter(want *Filter, why string) {
	now := p.now
	next := filterNow{want.String(), want.Rules(), false}
	switch {
	case now == next:
		return
	case want == nil && now.set == "":
		p.note("nftables table inet %s was not made by wgkeys: left alone", FilterTable(p.view.Tunnel))
		return
	}
	p.step(FilterChange{p.view.Tunnel, ParseFilter(p.view.Tunnel, now.set), want}, "%s", why)
	p.now = next
}

func whyFilter(f *Filter) string {
	var why []string
	if f.Masquerade != nil {
		why = append(why, "INSIDE sources leave by uplinks under this host's address, OUTSIDE")
	}
	if f.Guard != nil {
		why = append(why, "nobody on an uplink can send to the INSIDE addresses")
	}
	if f.Mark.Value != 0 {
		why = append(why, "what came in by an uplink is answered by it")
	}
	return strings.Join(why, "; ")
}
