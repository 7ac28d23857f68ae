package apply

import (
	"path"
	"strings"
)

// needed says who else has come to need that a parameter of the journal stays as we
// set it, or "". Down puts back what there was before us, and asks once more whether
// that is still right: containers that were started while the host forwarded found
// forwarding on, and never asked for it.
func (p *parameters) needed(key, now string) string {
	e := p.mine.Entries["sysctl "+key]
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
	case strings.HasPrefix(key, interfaces6) && (base == "forwarding" || base == "force_forwarding" || base == "accept_ra"):
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
