package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// A Filter is the tunnel's own nftables table, "wgkeys-TUNNEL" of family inet.
type Filter struct {
	Link       string
	Isolate    bool           // nothing that comes from the tunnel goes into it again
	Masquerade []netip.Prefix // INSIDE sources that leave by uplinks
	By         []string       // the uplinks; nil: all interfaces but those below
	Inner      []string       // interfaces that are not uplinks
	Tunnel     []netip.Addr   // INSIDE addresses, one of which becomes the source of all else that goes into the tunnel
	Guard      []netip.Addr   // INSIDE addresses to which no uplink may send
	Mark       Mark           // for what comes in by uplinks and the answers to it, of the families below
	IPv4, IPv6 bool
	Label      bool     // for forwarded connections that came in by uplinks
	Redirect   Redirect // for the port that the device had before
}

// A FilterChange makes (Old nil), replaces or removes (New nil) the table, each in one
// transaction.
type FilterChange struct {
	Link string
	Old  *Filter
	New  *Filter
}

func (c FilterChange) Resource() journal.Resource { return journal.Filter.Of(c.Link) }
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
	if f.Isolate {
		parts = append(parts, fmt.Sprintf("iifname %s oifname %[1]s drop", f.Link))
	}
	by := "!= " + strings.Join(outer, ",")
	if f.By != nil {
		by = strings.Join(f.By, ",")
	}
	for _, m := range f.Masquerade {
		parts = append(parts, fmt.Sprintf("%s saddr %s oifname %s masquerade", family(m.Addr()), m, by))
	}
	for _, own := range f.TunnelAddrs() {
		parts = append(parts, fmt.Sprintf("%s saddr != %s oifname %s iifname != %[3]s masquerade", family(own[0]),
			joined(own), f.Link))
	}
	for _, g := range f.Guard {
		parts = append(parts, fmt.Sprintf("%s daddr %s iifname != %s fib saddr type != local drop", family(g), g,
			strings.Join(outer, ",")))
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

// Label is the number of the label of forwarded connections: of the 128 available, one that
// a list of names is unlikely to use (connlabel.conf).
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

// ParseFilter parses what [Filter.String] wrote, or returns nil.
func ParseFilter(link, text string) *Filter {
	f := &Filter{Link: link}
	for part := range strings.SplitSeq(text, "; ") {
		f.parsePart(part)
	}
	// A part that was parsed wrongly, or that no filter has, gives another text.
	if f.String() != text || text == "" {
		return nil
	}
	return f
}

func (f *Filter) parsePart(part string) {
	w := append(strings.Fields(part), make([]string, 6)...) // as many as are examined below
	if w[0] == "iifname" {
		f.Isolate = true
		return
	}
	switch w[1] {
	case "saddr":
		f.parseMasquerade(w[2:])
	case "daddr":
		f.parseGuard(w[2:])
	case "mark":
		f.Mark = parseMark(w[2])
		f.IPv4, f.IPv6 = w[4] != "ip6", w[4] != "ip"
	case "label":
		f.Label = true
	case "dport":
		fmt.Sscanf(part, "udp dport %d goes to %d", &f.Redirect.From, &f.Redirect.To)
	}
}

// parseGuard parses the words after daddr.
func (f *Filter) parseGuard(w []string) {
	if g, err := netip.ParseAddr(w[0]); err == nil {
		f.Guard = append(f.Guard, g)
	}
	if _, inner, ok := strings.Cut(w[3], ","); ok {
		f.Inner = strings.Split(inner, ",")
	}
}

// parseMasquerade parses the words after saddr.
func (f *Filter) parseMasquerade(w []string) {
	if w[0] == "!=" {
		for own := range strings.SplitSeq(w[1], ",") {
			if a, err := netip.ParseAddr(own); err == nil {
				f.Tunnel = append(f.Tunnel, a)
			}
		}
		return
	}
	if m, err := netip.ParsePrefix(w[0]); err == nil {
		f.Masquerade = append(f.Masquerade, m)
	}
	if w[2] != "!=" {
		f.By = strings.Split(w[2], ",")
	} else if _, inner, ok := strings.Cut(w[3], ","); ok {
		f.Inner = strings.Split(inner, ",")
	}
}

// TunnelAddrs are those of Tunnel by their families, if there are any.
func (f *Filter) TunnelAddrs() (families [][]netip.Addr) {
	for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		other := func(a netip.Addr) bool { return !is(a) }
		if own := slices.DeleteFunc(slices.Clone(f.Tunnel), other); len(own) > 0 {
			families = append(families, own)
		}
	}
	return families
}

func joined(addrs []netip.Addr) string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return strings.Join(list, ",")
}

// parseMark parses what [Mark.String] wrote, or returns the zero value.
func parseMark(text string) Mark {
	value, mask, _ := strings.Cut(text, "/")
	v, _ := strconv.ParseUint(value, 0, 32)
	m, _ := strconv.ParseUint(mask, 0, 32)
	return Mark{uint32(v), uint32(m)}
}

// Rules is the number of rules in the table.
func (f *Filter) Rules() int {
	if f == nil {
		return 0
	}
	n := len(f.Masquerade)*max(1, len(f.By)) + len(f.TunnelAddrs()) + len(f.Guard)
	if f.Isolate {
		n++
	}
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

func (c FilterChange) entries(_ journal.Entries) []line {
	if c.New != nil {
		return []line{{c.Resource(), journal.Entry{Set: c.New.String()}}}
	}
	return nil
}

func (c FilterChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (FilterChange) trusted() bool       { return true }
func (FilterChange) traits() traits      { return traits{} }
func (FilterChange) TouchesKernel() bool { return true }

// A Redirect takes encrypted packets from a tunnel's old port to its new one.
//
// Peers send to the old port until they hear from the new one, and packets on their way to
// it could otherwise not be received. The redirect is there before the port changes, and is
// removed when nothing comes to the old port any more. It is in the journal as a part of
// its table.
type Redirect struct{ From, To int }

// PortRedirect is f's redirect, or the zero value.
func (f *Filter) PortRedirect() Redirect {
	if f == nil {
		return Redirect{}
	}
	return f.Redirect
}
