package apply

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// parameters are the kernel's, as a plan changes them one after the other.
type parameters struct {
	*planner
	now    sysctls         // as they will be after the steps so far
	unsure string          // the parameter of which now is a guess
	needs  map[string]bool // the parameters that something else than the view's sysctls needs
	fixes  []SideEffect    // the parameters that cannot be set
}

// was is the value from before any tunnel of ours touched key.
func (p *parameters) was(key, now string) string {
	if e, ok := p.others[journal.Sysctl.Of(key)]; ok {
		return e.Was
	}
	return now
}

// before is the value of a parameter before any tunnel of ours touched it.
func (p *parameters) before(key string) string {
	if e, ok := p.mine.Entries[journal.Sysctl.Of(key)]; ok {
		return e.Was
	}
	return p.was(key, p.state.Sysctls[key])
}

// set plans key=value, which something that the view asks for needs.
func (p *parameters) set(key, value, why string, args ...any) {
	p.needs[key] = true
	p.assign(key, value, why, args...)
}

// assign plans key=value where it is not so. Where it is so because of another
// tunnel, it is shared: the last of them puts it back.
func (p *parameters) assign(key, value, why string, args ...any) {
	resource := journal.Sysctl.Of(key)
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
			p.err = fault.New("no such kernel parameter on this host:", sysctlName(key), "there is no /proc/sys/"+key,
				hintMissing(key))
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
	return "ls /proc/sys/" + path.Dir(key) +
		" shows those there are; what belongs to a module comes with it (modprobe nf_conntrack)"
}

// inherited returns the parameter whose value a new link of ours begins with.
func (p *parameters) inherited(key string) string {
	return strings.Replace(key, "/"+p.view.Tunnel+"/", "/default/", 1)
}

// share plans that the side effects of another tunnel's parameter are shared too.
func (p *parameters) share(effects []SideEffect, why string, args ...any) {
	for _, d := range effects {
		if other, ok := p.others[journal.Sysctl.Of(d.Key)]; ok {
			p.step(ShareChange{d.Key, other.Was, d.Set}, why, args...)
		}
	}
}

// fixed collects a parameter that cannot be set, and reports whether it cannot.
func (p *parameters) fixed(key, value string) bool {
	why := cmp.Or(p.state.Hurdles.Fixed[key], p.state.Hurdles.Fixed[p.inherited(key)]) // our own link may not be there yet
	if why == "" || key == p.unsure {
		return false
	}
	p.fixes = append(p.fixes, SideEffect{Key: key, Set: value, Was: why})
	return true
}

// refuseFixed tells all parameters at once: a container has to be started with them.
func (p *parameters) refuseFixed() error {
	if len(p.fixes) == 0 {
		return nil
	}
	first := p.fixes[0]
	var assigned []string
	for _, c := range p.fixes {
		assigned = append(assigned, sysctlName(c.Key)+"="+words.ForShell(c.Set))
	}
	assigned = slices.Compact(slices.Sorted(slices.Values(assigned)))
	hint := "sysctl -w " + strings.Join(assigned, " ") +
		", outside of this container, or start it with docker run --sysctl " +
		strings.Join(assigned, " --sysctl ")
	if first.Was == ReadOnlySysctls {
		hint = "mount -o remount,rw,bind /proc/sys, or start the container with docker run --sysctl " + strings.Join(assigned,
			" --sysctl ")
	}
	return fault.New("cannot set kernel parameters for tunnel", p.view.Tunnel,
		first.Was+", and it needs "+strings.Join(assigned, ", "), hint)
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

// asked is the value that the tunnel file has for a parameter, and whether it has one.
func asked(p *planner, key string) (value string, is bool) {
	for name, value := range p.view.Sysctls {
		if k, err := tunnel.SysctlPath(name); err == nil && k == key {
			return value, true
		}
	}
	return "", false
}

// disableIPv6 is the parameter of our own link, which a new link takes over from
// the default.
func disableIPv6(p *planner) string { return "net/ipv6/conf/" + p.view.Tunnel + "/disable_ipv6" }

// enablesIPv6 reports whether the tunnel file turns IPv6 on for the link.
func enablesIPv6(p *planner) bool {
	value, _ := asked(p, disableIPv6(p))
	return p.state.Hurdles.NoIPv6 != NoIPv6AtAll && same(value, "0")
}

// setIPv6 comes before the addresses: what else the file sets comes last.
func setIPv6(p *parameters) {
	if p.state.Hurdles.NoIPv6 != "" && enablesIPv6(p.planner) {
		p.assign(disableIPv6(p.planner), "0", "the tunnel file says so")
	}
}

// noteFiles warns of the host's own files that take away a parameter which the tunnel needs, once
// they are read again: by sysctl --system, or when a package is upgraded. At boot they come first.
func noteFiles(p *parameters) {
	wanted := maps.Clone(p.needs)
	for name := range p.view.Sysctls {
		if key, err := tunnel.SysctlPath(name); err == nil {
			wanted[key] = true
		}
	}
	for _, f := range p.state.Files {
		for _, d := range append(p.now.sideEffects(f.Key, f.Value), SideEffect{Key: f.Key, Set: f.Value}) {
			if !wanted[d.Key] || same(d.Set, p.now[d.Key]) {
				continue
			}
			p.note("%s:%d sets %s=%s: when it is read again, as by sysctl --system, %s is no longer %s, which the tunnel needs. Take the line out",
				f.File, f.Line, sysctlName(f.Key), words.ForShell(f.Value), sysctlName(d.Key), p.now[d.Key])
			break
		}
	}
}
