package apply

// A Redirect takes encrypted packets from a tunnel's old port to its new one.
//
// Peers send to the old port until they hear from the new one, and what is on
// its way to it could otherwise not be received. The redirect is there before
// the port changes, and goes once nothing comes to the old port any more. It is
// in the journal, with the table that it is in.
type Redirect struct{ From, To int }

// PortRedirect is f's, or the zero value.
func (f *Filter) PortRedirect() Redirect {
	if f == nil {
		return Redirect{}
	}
	return f.Redirect
}

// redirectPort comes before the port changes. A device in user space needs no
// redirect: it keeps its old port open for a while.
func (p *filterPlanner) redirectPort(from, to int) {
	link := p.state.Link
	if from == to || from == 0 || link == nil || !link.Up || link.Kind != "wireguard" {
		return
	}
	if !p.state.Redirects || p.now.set == "" && p.now.rules > 0 {
		p.note("what is on its way to port %d, OUTSIDE, as it changes to %d is lost: nftables cannot redirect it here", from, to)
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
