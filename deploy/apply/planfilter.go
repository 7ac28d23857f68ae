package apply

import "strings"

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

// wantFilter is the table that the view asks for, or nil.
func wantFilter(p *planner) *Filter {
	f := &Filter{Link: p.view.Tunnel, Isolate: p.view.Isolate, Masquerade: p.view.Masquerade}
	if f.Masquerade != nil {
		f.By = p.view.MasqueradeBy
	}
	if p.view.MasqueradeTunnel {
		for _, a := range p.view.Addresses {
			f.Tunnel = append(f.Tunnel, a.Addr())
		}
	}
	if c := p.policyRouting; c.mark.Value != 0 {
		f.Mark, f.IPv4, f.IPv6, f.Label = c.mark, c.ipv4, c.ipv6, p.state.Labels
		for _, a := range p.view.Addresses {
			if a.Addr().Is4() && c.ipv4 || !a.Addr().Is4() && c.ipv6 {
				f.Guard = append(f.Guard, a.Addr())
			}
		}
	}
	if f.Masquerade != nil && f.By == nil || f.Guard != nil {
		f.Inner = p.state.Inner
	}
	if f.Rules() == 0 {
		return nil
	}
	return f
}

// findNoUplink finds that none of the uplinks to masquerade on is there: it was renamed, or the
// name is a slip. If there are several, one of them may come and go.
func findNoUplink(p *planner) {
	if p.view.Masquerade == nil || !p.view.Forward || len(p.view.MasqueradeBy) == 0 {
		return
	}
	for _, name := range p.view.MasqueradeBy {
		if _, there := p.state.Sysctls[forwarding4Of(name)]; there {
			return
		}
	}
	p.find("masquerade does nothing: this host has no interface %s: write one that ip -br link shows under [hosts.%s], or true for all uplinks",
		strings.Join(p.view.MasqueradeBy, ", "), p.view.Host)
}

// unmarksFilter reports whether the table loses the mark: that waits until no
// rule looks at it, or the reverse path check would drop encrypted packets. The
// version before, of which the text is another, marked them too.
func unmarksFilter(p *planner) bool {
	set := p.mine.Entries[FilterChange{Link: p.view.Tunnel}.Resource()].Set
	return strings.Contains(set, " mark ") && p.policyRouting.mark.Value == 0
}

// isolate keeps the peers apart before there is a way between them: before the link is
// there, and its rules name it all the same.
func (p *filterPlanner) isolate() {
	f := ParseFilter(p.view.Tunnel, p.now.set)
	if !p.view.Isolate || f == nil && p.now.set != "" { // it is not known what the table has
		return
	}
	if f == nil {
		f = &Filter{Link: p.view.Tunnel}
	}
	f.Isolate = true
	p.changeFilter(f, whyIsolate)
}

const whyIsolate = "what comes from one peer goes to no other"

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
	if f.Isolate {
		why = append(why, whyIsolate)
	}
	if f.Tunnel != nil {
		why = append(why, "this host's own networks go into the tunnel under its address, INSIDE")
	}
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

// redirectPort comes before the port changes. A device in user space needs no
// redirect: it keeps its old port open for a while.
func (p *filterPlanner) redirectPort(from, to int) {
	link := p.state.Link
	if from == to || from == 0 || link == nil || !link.Up || link.Kind != "wireguard" {
		return
	}
	if !p.state.Redirects || p.now.set == "" && p.now.rules > 0 {
		p.note("what is on its way to port %d, OUTSIDE, as it changes to %d is lost: nftables cannot redirect it here", from,
			to)
		return
	}
	f := ParseFilter(p.view.Tunnel, p.now.set)
	if f == nil && p.now.set != "" { // it is not known what the table has
		f = wantFilter(p.planner)
	}
	if f == nil {
		f = &Filter{Link: p.view.Tunnel}
	}
	f.Redirect = Redirect{from, to}
	p.changeFilter(f, "peers send to the old port, OUTSIDE, until they hear from the new one")
}

// endRedirect comes once the port has changed, or finds what a crash has left.
func (p *filterPlanner) endRedirect() {
	f := ParseFilter(p.view.Tunnel, p.now.set)
	if f.PortRedirect() == (Redirect{}) {
		return
	}
	f.Redirect = Redirect{}
	if f.Rules() == 0 {
		f = nil
	}
	p.changeFilter(f, "once the peers send to the new port, OUTSIDE")
}
