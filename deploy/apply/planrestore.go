package apply

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// restoreSysctls puts back what the view no longer asks for, and again what it
// asks for, should the kernel have changed that along with it.
func restoreSysctls(p *forwarding) {
	for resource := range backwards(p.mine.Order) {
		if resource.Kind == journal.Sysctl && !wants(p, resource.Name) {
			p.restore(resource.Name)
		}
	}
	p.setSysctls()
}

// wants reports whether the view needs a parameter of the journal to stay.
func wants(p *forwarding, key string) bool {
	if _, is := asked(p.planner, key); is {
		return true
	}
	if of, is := strings.CutPrefix(key, interfaces6); is {
		switch path.Base(of) {
		case "accept_ra": // also on what was an uplink: it may come back any moment
			return p.purges() || p.hearsAgain(path.Dir(of))
		case "forwarding":
			return p.makesRouter() || p.proxiesRoute(path.Dir(of))
		case "force_forwarding":
			return forwards6(p.planner)
		}
	}
	switch {
	case key == forward4, strings.HasPrefix(key, "net/ipv4/") && path.Base(key) == "forwarding",
		key == redirects:
		return p.view.Forward && p.view.ForwardIPv4
	case key == sendRedirects:
		return true // as long as the link is up
	case key == "net/ipv4/conf/all/src_valid_mark":
		return p.policyRouting.ipv4
	case key == acceptMark:
		return answersWait(p.planner)
	case path.Base(key) == "proxy_ndp":
		return slices.Contains(proxyLinks(p.planner), path.Base(path.Dir(key)))
	}
	return false
}

// backwards is the order of putting back: last touched first, but accept_ra
// last of all. Each write that leaves an interface forwarding purges the default
// routes where accept_ra is not 2, and an uplink may be younger than forwarding.
func backwards(order []journal.Resource) iter.Seq[journal.Resource] {
	last := func(r journal.Resource) bool {
		return r.Kind == journal.Sysctl && path.Base(r.Name) == "accept_ra"
	}
	return func(yield func(journal.Resource) bool) {
		for _, advertisements := range []bool{false, true} {
			for _, resource := range slices.Backward(order) {
				if last(resource) == advertisements && !yield(resource) {
					return
				}
			}
		}
	}
}

// restore plans that a parameter gets the value from before us, unless another
// tunnel needs it or somebody else changed it since.
func (p *parameters) restore(key string) {
	e := p.mine.Entries[journal.Sysctl.Of(key)]
	now, there := p.now[key]
	other, shared := p.others[journal.Sysctl.Of(key)]
	release := ReleaseChange{key, e.Was, e.Set}
	switch {
	case shared && there && same(now, e.Set) && !same(now, other.Set):
		c := p.now.change(key, other.Set)
		c.Was = e.Was
		p.step(c, "as another tunnel wants it")
		p.step(release, "another tunnel still needs it")
	case shared:
		p.step(release, "another tunnel still needs it")
	case !there:
		p.step(release, "its interface is gone")
	case same(now, e.Was):
		p.step(release, "it is as it was")
	case p.needed(key, now) != "":
		p.stays(key, p.needed(key, now), release)
	case ours(p.mine, journal.Sysctl.Of(key), now) || p.now[key] != p.state.Sysctls[key]:
		c := p.now.change(key, e.Was)
		// Its side effects are put back next, and the journal has to know who moved it.
		effects := slices.Clone(c.SideEffects)
		c.SideEffects = slices.DeleteFunc(c.SideEffects, func(d SideEffect) bool {
			return !p.isMine(journal.Sysctl.Of(d.Key)) && path.Base(d.Key) != "force_forwarding"
		})
		if key == forceForwardingOf("default") { // first: it is how they are known, should a crash come between
			p.unforce(e.Was)
		}
		p.step(c, "as it was before")
		p.forceAgain(effects)
	default:
		p.note("%s is %s, which wgkeys did not set: left alone", sysctlName(key), now)
		p.step(release, "somebody else changed it")
	}
}

// needed says who else has come to need that a parameter of the journal stays as we
// set it, or "". Down puts back what there was before us, and asks once more whether
// that is still right: containers that were started while the host forwarded found
// forwarding on, and never asked for it.
func (p *parameters) needed(key, now string) string {
	e := p.mine.Entries[journal.Sysctl.Of(key)]
	if !same(now, e.Set) {
		return ""
	}
	who := p.state.Needs[key]
	if who == "" {
		who = p.state.Needs[neededWith(key)]
	}
	return who
}

// neededWith is the parameter with which key stands and falls, or "".
func neededWith(key string) string {
	switch base := path.Base(key); {
	case key == redirects, strings.HasPrefix(key, "net/ipv4/conf/") && base == "forwarding":
		return forward4
	case strings.HasPrefix(key, interfaces6) && (base == "forwarding" || base == "force_forwarding" ||
		base == "accept_ra"):
		return forward6
	}
	return ""
}

// stays leaves the parameter to whoever needs it by now.
func (p *parameters) stays(key, who string, release ReleaseChange) {
	if neededWith(key) == "" {
		p.note("%s stays %s: %s needs it by now, and did not before", sysctlName(key), release.Set, who)
	}
	p.step(release, "%s needs it by now", who)
}

// forceAgain puts back what a 0 written to all.forwarding took along.
func (p *parameters) forceAgain(effects []SideEffect) {
	for _, d := range effects {
		if path.Base(d.Key) != "force_forwarding" {
			continue
		}
		want := d.Old
		if other, ok := p.others[journal.Sysctl.Of(d.Key)]; ok {
			want = other.Set
		} else if e, ok := p.mine.Entries[journal.Sysctl.Of(d.Key)]; ok {
			want = e.Was
		}
		if want != "0" {
			p.step(p.now.change(d.Key, want), "which forwarding took along")
		}
	}
}

// unforce takes force_forwarding from interfaces that came while it was the default for such.
// Those that had it before are in the journal, see [forwarding.rememberForced].
func (p *parameters) unforce(was string) {
	for _, key := range slices.Sorted(maps.Keys(p.now)) {
		resource := journal.Sysctl.Of(key)
		link, ok := strings.CutSuffix(strings.TrimPrefix(key, interfaces6), "/force_forwarding")
		switch {
		case !ok, link == "all", link == "default", link == p.view.Tunnel:
		case same(p.now[key], was), p.isMine(resource), p.others.Has(resource):
		default:
			const why = "its interface came while this was the default"
			p.step(ShareChange{key, was, p.now[key]}, why) // so that a crash does not hide whose it is
			p.step(p.now.change(key, was), why)
		}
	}
}

// ours reports whether value is one that we gave the thing: the last, or the one
// before it, which it still has if we were killed about to set the last.
func ours(j *journal.Journal, resource journal.Resource, value string) bool {
	e, ok := j.Entries[resource]
	old, changed := j.Previous(resource)
	return ok && (same(value, e.Set) || changed && same(value, old.Set))
}
