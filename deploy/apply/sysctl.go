package apply

import (
	"maps"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// sysctls are kernel parameters by their path below /proc/sys.
type sysctls map[string]string

func (s sysctls) clone() sysctls {
	if s == nil {
		return sysctls{}
	}
	return maps.Clone(s)
}

const (
	forward4  = "net/ipv4/ip_forward"
	forward6  = "net/ipv6/conf/all/forwarding"
	redirects = "net/ipv4/conf/all/accept_redirects"

	sendRedirects = "net/ipv4/conf/all/send_redirects"
)

// sideEffects returns what the kernel changes by itself when key is set to value.
//
// Setting IPv6 forwarding for all sets it for the default and for each
// interface (addrconf_fixup_forwarding); IPv4 likewise, and redirects are
// accepted where forwarding is off (inet_forward_change).
func (s sysctls) sideEffects(key, value string) []SideEffect {
	var pattern string
	switch key {
	case forward6:
		pattern = conf6 + "forwarding"
	case forward4:
		pattern = conf4 + "forwarding"
	default:
		return nil
	}
	var effects []SideEffect
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if match, _ := path.Match(pattern, k); match && k != key {
			effects = append(effects, SideEffect{Key: k, Old: s[k], Set: value})
		}
	}
	if key == forward6 {
		effects = append(effects, s.forceSideEffects(value)...)
	}
	if was, ok := s[redirects]; ok && key == forward4 {
		effects = append(effects, SideEffect{Key: redirects, Old: was, Set: opposite(value)})
	}
	return effects
}

// driver is the parameter that changes key along with itself, or "".
func driver(key string) string {
	for _, d := range []string{forward4, forward6} {
		if effects := (sysctls{key: ""}).sideEffects(d, "1"); len(effects) > 0 {
			return d
		}
	}
	return ""
}

func opposite(value string) string {
	if value == "0" {
		return "1"
	}
	return "0"
}

// change returns the change of key to value and makes it in s.
func (s sysctls) change(key, value string) SysctlChange {
	c := SysctlChange{Key: key, Old: s[key], New: value, SideEffects: s.sideEffects(key, value)}
	s[key] = value
	for _, d := range c.SideEffects {
		s[d.Key] = d.Set
	}
	return c
}

// was is the value from before any tunnel of ours touched key.
func (p *parameters) was(key, now string) string {
	if e, ok := p.others["sysctl "+key]; ok {
		return e.Was
	}
	return now
}

// set plans key=value, which something that the view asks for needs.
func (p *parameters) set(key, value, why string, args ...any) {
	p.needs[key] = true
	p.assign(key, value, why, args...)
}

// assign plans key=value where it is not so. Where it is so because of another
// tunnel, it is shared: the last of them puts it back.
func (p *parameters) assign(key, value, why string, args ...any) {
	resource := "sysctl " + key
	now, known := p.now[key]
	switch other, shared := p.others[resource]; {
	case known && same(now, value) && shared && !p.isMine(resource):
		p.share(p.now.sideEffects(key, value), why, args...) // first, so that it is put back last
		p.step(ShareChange{key, other.Was, value}, why, args...)
	case known && same(now, value) && key != p.unsure:
	case p.fixed(key, value):
	default:
		if key == p.unsure {
			p.unsure = ""
		}
		if !known && !strings.Contains(key, "/"+p.view.Tunnel+"/") {
			// Its value could not be put back.
			p.err = fault.New("no such kernel parameter on this host:", sysctlName(key), "there is no /proc/sys/"+key, hintMissing(key))
		}
		if !known { // one of our own link's, which does not exist yet
			p.now[key] = p.now[p.inherited(key)]
		}
		c := p.now.change(key, value)
		c.Was = p.was(key, c.Old)
		for i, d := range c.SideEffects {
			c.SideEffects[i].Was = p.was(d.Key, d.Old)
		}
		p.step(c, why, args...)
	}
}

// hintMissing says how a host comes by a parameter.
func hintMissing(key string) string {
	if strings.HasPrefix(key, "net/ipv6/") && path.Base(key) == "forwarding" {
		return "this kernel runs without IPv6: cat /proc/cmdline, and boot it without ipv6.disable=1"
	}
	return "ls /proc/sys/" + path.Dir(key) + " shows those there are; what belongs to a module comes with it (modprobe nf_conntrack)"
}

// inherited returns the parameter whose value a new link of ours begins with.
func (p *parameters) inherited(key string) string {
	return strings.Replace(key, "/"+p.view.Tunnel+"/", "/default/", 1)
}

// share plans that the side effects of another tunnel's parameter are shared too.
func (p *parameters) share(effects []SideEffect, why string, args ...any) {
	for _, d := range effects {
		if other, ok := p.others["sysctl "+d.Key]; ok {
			p.step(ShareChange{d.Key, other.Was, d.Set}, why, args...)
		}
	}
}

// same compares values as the kernel does: any white space separates numbers.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// keepAdvertisements secures the routes learned from router advertisements, and
// those to come, before forwarding.
//
// ipv6_accept_ra() reads only the interface's own value, and a router accepts
// advertisements only where it is 2; turning forwarding on purges the default
// routes learned from them everywhere else. So every interface that accepts them
// now goes on doing so: an uplink may have learned no default route yet (at boot
// apply comes before the first advertisement), or be another's backup. Where the
// host becomes no router as a whole, the others have only their routes to lose.
func (p *forwarding) keepAdvertisements() {
	if !p.purges() {
		return
	}
	uplinks := map[string]Uplink{}
	for _, u := range p.uplinks() {
		uplinks[u.Name] = u
		if u.RA && p.now[acceptRA(u.Name)] == "0" {
			p.note("%s", whoAdvertises(u, p.state.Managers))
		}
	}
	for _, name := range p.listening() {
		u, ok := uplinks[name]
		if !ok {
			u.Name = name
		}
		if !p.makesRouter() && !u.RA && !p.proxiesRoute(name) {
			continue
		}
		if e := p.mine.Entries["sysctl "+acceptRA("default")]; p.now[acceptRA(name)] == "2" && e.Was == "1" && p.cameLater(name) {
			p.step(ShareChange{acceptRA(name), e.Was, e.Set}, "%s came while the default was ours", name)
		}
		p.set(acceptRA(name), "2", "%s", whyAdvertisements(u))
	}
}

func acceptRA(link string) string { return interfaces6 + link + "/accept_ra" }

// cameLater reports whether an interface was not there yet when the tunnel made
// the host a router, which touches the forwarding of each.
func (p *forwarding) cameLater(link string) bool {
	return !p.isMine("sysctl "+acceptRA(link)) && !p.isMine("sysctl "+forwardingOf(link))
}

// listening are the interfaces that accept router advertisements, uplinks
// first. A bridge listens for its ports.
func (p *forwarding) listening() []string {
	var links, others []string
	for _, u := range p.uplinks() {
		if p.accepts(u.Name) {
			links = append(links, u.Name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.now)) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(key, interfaces6), "/accept_ra")
		special := name == "lo" || name == "all" || name == "default" || name == p.view.Tunnel || slices.Contains(p.state.Ports, name)
		if ok && !special && p.now[key] != "2" && p.accepts(name) && !slices.Contains(links, name) {
			others = append(others, name)
		}
	}
	return append(links, others...)
}

func whyAdvertisements(u Uplink) string {
	switch {
	case u.RA:
		return u.Name + " has its default route from router advertisements, and forwarding would drop it"
	case !u.IPv6:
		return u.Name + " may yet learn its default route from router advertisements, which a router ignores"
	}
	return u.Name + " is an uplink: keep accepting router advertisements while forwarding"
}

// whoAdvertises says who handles router advertisements where the kernel does
// not, and what to set there: not every program goes on doing so on a router.
func whoAdvertises(u Uplink, managers []string) string {
	s := u.Name + " has its default route from router advertisements that another program handles (accept_ra=0), which is left alone"
	if slices.Contains(managers, Networkd) {
		s += "; if that is systemd-networkd: set IPv6AcceptRA=yes in the .network file of " + u.Name +
			", since its default is no where the host forwards (systemd.network(5))"
	}
	if slices.Contains(managers, NetworkManager) {
		s += "; if that is NetworkManager: it goes on accepting them"
	}
	return s
}

func (p *forwarding) setForwarding() {
	if !p.view.Forward {
		return
	}
	switch {
	case !p.view.ForwardIPv6:
	case p.forces():
		p.forceForwarding()
	default:
		if p.makesRouter() && p.accepts("default") {
			// After the link is made: it has no use for advertisements itself.
			p.set(acceptRA("default"), "2", "an interface that comes later may learn its default route from router advertisements")
		}
		p.set(forward6, "1", "%s is a router for IPv6", p.view.Host)
	}
	if p.view.ForwardIPv4 {
		p.set(forward4, "1", "%s is a router for IPv4", p.view.Host)
	}
}

func (p *parameters) setSysctls() {
	for _, name := range slices.Sorted(maps.Keys(p.view.Sysctls)) {
		key, err := tunnel.SysctlPath(name)
		if err == nil && cannotUndo(p.planner, key) {
			p.err = fault.New("will not set the kernel parameter", name,
				"it takes addresses and routes away that down could not bring back", "set it where the host itself is configured")
			return
		}
		if err == nil && !p.needs[key] { // a valid view has no other
			p.assign(key, p.view.Sysctls[name], "the tunnel file says so")
		}
	}
}

// cannotUndo tells parameters that change more than themselves: turning IPv6 off
// on an interface removes its addresses and routes (addrconf_ifdown). On our own
// link they are ours.
func cannotUndo(p *planner, key string) bool {
	switch path.Base(key) {
	case "disable_ipv6", "addr_gen_mode", "stable_secret":
		return path.Base(path.Dir(key)) != p.view.Tunnel
	}
	return false
}

// restoreSysctls puts back what the view no longer asks for, and again what it
// asks for, should the kernel have changed that along with it.
func restoreSysctls(p *forwarding) {
	for _, resource := range backwards(p.mine.Order) {
		key, ok := strings.CutPrefix(resource, "sysctl ")
		if ok && !wants(p, key) {
			p.restore(key)
		}
	}
	p.setSysctls()
}

// backwards is the order of putting back: last touched first, but accept_ra
// last of all. Each write that leaves an interface forwarding purges the default
// routes where accept_ra is not 2, and an uplink may be younger than forwarding.
func backwards(order []string) []string {
	var others, advertisements []string
	for _, resource := range slices.Backward(order) {
		if strings.HasPrefix(resource, "sysctl ") && path.Base(resource) == "accept_ra" {
			advertisements = append(advertisements, resource)
		} else {
			others = append(others, resource)
		}
	}
	return append(others, advertisements...)
}

// wants reports whether the view needs a parameter of the journal to stay.
func wants(p *forwarding, key string) bool {
	for name := range p.view.Sysctls {
		if k, err := tunnel.SysctlPath(name); err == nil && k == key {
			return true
		}
	}
	switch {
	case strings.HasPrefix(key, interfaces6) && path.Base(key) == "accept_ra":
		// also on what was an uplink: it may come back any moment
		return p.purges()
	case strings.HasPrefix(key, interfaces6) && path.Base(key) == "forwarding":
		return p.makesRouter() || p.proxiesRoute(path.Base(path.Dir(key)))
	case strings.HasPrefix(key, interfaces6) && path.Base(key) == "force_forwarding":
		return forwards6(p.planner)
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

// restore plans that a parameter gets the value from before us, unless another
// tunnel needs it or somebody else changed it since.
func (p *parameters) restore(key string) {
	e := p.mine.Entries["sysctl "+key]
	now, there := p.now[key]
	other, shared := p.others["sysctl "+key]
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
	case p.mine.ours("sysctl "+key, now) || p.now[key] != p.state.Sysctls[key]:
		c := p.now.change(key, e.Was)
		// Its side effects are put back next, and the journal has to know who moved it.
		effects := slices.Clone(c.SideEffects)
		c.SideEffects = slices.DeleteFunc(c.SideEffects, func(d SideEffect) bool {
			return !p.isMine("sysctl "+d.Key) && path.Base(d.Key) != "force_forwarding"
		})
		p.step(c, "as it was before")
		p.forceAgain(effects)
	default:
		p.note("%s is %s, which wgkeys did not set: left alone", sysctlName(key), now)
		p.step(release, "somebody else changed it")
	}
}

// parameters are the kernel's, as a plan changes them one after the other.
type parameters struct {
	*planner
	now    sysctls         // as they will be after the steps so far
	unsure string          // the parameter of which now is a guess
	needs  map[string]bool // the parameters that something else than the view's sysctls needs
	fixes  []SideEffect    // the parameters that cannot be set
}
