package apply

// A linkPlanner is for the tunnel's interface.
type linkPlanner struct {
	*parameters
	chosen *width // its MTU, once it is looked for
}

func (p *linkPlanner) addLink() {
	if p.state.Link != nil {
		return
	}
	// wg_open turns off redirects on all interfaces as it brings the link up.
	link := LinkChange{Name: p.view.Tunnel, New: &Link{MTU: p.mtu()}}
	if was, ok := p.now[sendRedirects]; ok {
		link.SideEffects = []SideEffect{{sendRedirects, was, "0", p.was(sendRedirects, was)}}
	}
	p.step(link, "%s", p.whyLink())
}

func (p *linkPlanner) raiseLink() {
	have := Link{MTU: p.mtu()}
	if p.state.Link != nil {
		have = *p.state.Link
		have.MTU = max(have.MTU, p.mtu())
	}
	if have.Up {
		return
	}
	p.step(LinkChange{Name: p.view.Tunnel, Old: &have, New: &Link{have.Kind, have.MTU, true}}, "bring it up")
	if _, ok := p.now[sendRedirects]; ok { // a device in user space leaves it as it is
		p.now[sendRedirects], p.unsure = "0", sendRedirects
	}
}

// mtu is what the view says, or what fits through all paths to the peers.
func (p *linkPlanner) mtu() int { return p.width().mtu }

// width finds the MTU, once for a plan.
func (p *linkPlanner) width() width {
	if p.chosen == nil {
		w := p.chosenWidth()
		p.chosen = &w
	}
	return *p.chosen
}

func (p *linkPlanner) chosenWidth() width {
	fits, least := fittingWidth(p.planner), minMTU4
	if carriesIPv6(p.view) {
		least = minMTU6
	}
	switch tight := fits.mtu < least; {
	case p.view.MTU > max(fits.mtu, least):
		p.note("mtu = %d is more than fits: %s; larger packets go in fragments, which some firewalls drop (left out, it would be %d)",
			p.view.MTU, fits.why(), fits.chosen(least).mtu)
	case tight && least == minMTU6:
		p.note("IPv6, INSIDE, takes %d bytes, and %d fit: %s; larger packets go in fragments, which some firewalls drop (raise the MTU of %s, if its network allows that, or take IPv6 out of the tunnel)",
			least, fits.mtu, fits.why(), fits.path.Link)
	}
	if p.view.MTU != 0 {
		return width{mtu: p.view.MTU}
	}
	return fits.chosen(least)
}

// whyMTU is the reason of a step that sets the MTU, and whyLink of the one that
// makes the link.
func (p *linkPlanner) whyMTU() string  { return p.width().reason("its MTU") }
func (p *linkPlanner) whyLink() string { return p.width().reason("the tunnel's interface") }

// widenLink raises the MTU before there is IPv6 on the link, and narrowLink
// lowers it when there is none left: below 1280 a link has no IPv6
// (addrconf_notify). A new link is made with its MTU.
func (p *linkPlanner) widenLink() {
	if have := p.state.Link; have != nil && have.MTU < p.mtu() {
		p.setMTU(Link{have.Kind, have.MTU, have.Up})
	}
}

func (p *linkPlanner) narrowLink() {
	if have := p.state.Link; have != nil && have.MTU > p.mtu() {
		p.setMTU(Link{have.Kind, have.MTU, true})
	}
}

func (p *linkPlanner) setMTU(have Link) {
	p.step(LinkChange{Name: p.view.Tunnel, Old: &have, New: &Link{have.Kind, p.mtu(), have.Up}}, "%s", p.whyMTU())
}

// threadShare is which part of the threads that the kernel allows may be those of
// peers. It allows as many as fill an eighth of the memory with their stacks of
// 16 KiB (set_max_threads in kernel/fork.c), so a sixteenth of them, at 34 kB each,
// is below a fiftieth of the memory.
const threadShare = 16

// setThreads comes before the peers, whose threads are made with them.
func setThreads(p *planner) {
	t := p.state.Threads
	fresh := p.state.Link == nil && t.Likely
	if n := len(p.view.Peers); n*threadShare > t.Max && t.Max > 0 && (t.Link == "1" || fresh) {
		p.step(ThreadsChange{p.view.Tunnel, false},
			"%d peers would have a thread each, and the host has room for %d threads in all (kernel.threads-max)", n, t.Max)
	}
}
