package linux

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/files"
)

// needs are, by kernel parameter, what on the host shows that somebody needs it as it
// is. They are compared with those from before a tunnel set it: what was there then
// did without.
type needs map[string][]string

// observeNeeds finds who has come to need the parameters that may be put back.
func (k *Kernel) observeNeeds(name string, s *apply.State, view *tunnel.View, entries journal.Entries) {
	before, err := readNeeds(name)
	if err != nil || view != nil && view.Forward { // nothing is known, or nothing put back
		return
	}
	keys := map[string]bool{}
	for resource := range entries {
		if resource.Kind == journal.Sysctl {
			keys[resource.Name] = true
		}
	}
	for key, now := range k.needs(keys, s.Sysctls, entries) {
		was, ok := before[key]
		now = slices.DeleteFunc(now, func(who string) bool { return slices.Contains(was, who) })
		if ok && len(now) > 0 {
			if s.Needs == nil {
				s.Needs = map[string]string{}
			}
			s.Needs[key] = now[0]
		}
	}
}

// needs looks for signs that somebody routes: packets that leave under another
// address, a bridge of containers or machines; that somebody has rules by mark, which
// the reverse path check is to see; and for files that set the parameter at boot.
func (k *Kernel) needs(keys map[string]bool, sysctls map[string]string, ours journal.Entries) needs {
	found := sysctlFiles(keys, sysctls)
	if keys[sourceMark] {
		found[sourceMark] = append(found[sourceMark], k.markRules(ours)...)
	}
	if !keys[forward4] && !keys[forward6] {
		return found
	}
	v4, v6 := nft.Translations()
	bridges4, bridges6 := k.bridges()
	for key, signs := range map[string][]string{forward4: slices.Concat(v4, bridges4), forward6: slices.Concat(v6, bridges6)} {
		if keys[key] {
			found[key] = append(found[key], signs...)
		}
	}
	return found
}

const (
	forward4   = "net/ipv4/ip_forward"
	forward6   = "net/ipv6/conf/all/forwarding"
	sourceMark = "net/ipv4/conf/all/src_valid_mark"
)

// markRules are the rules of others that look at the mark of a packet.
func (k *Kernel) markRules(ours journal.Entries) (signs []string) {
	rules, err := k.rules(netlink.FAMILY_V4)
	if err != nil {
		return nil
	}
	for _, r := range rules {
		rule, _ := ruleOf(r, netlink.FAMILY_V4)
		if _, mine := ours[apply.RuleChange{Rule: rule}.Resource()]; r.Mark != 0 && !mine {
			signs = append(signs, fmt.Sprintf("the rule of priority %d for mark %#x", r.Priority, r.Mark))
		}
	}
	return signs
}

// bridges are the bridges with a port and an address, by the family of that, that are
// no uplinks: containers and virtual machines are behind them.
func (k *Kernel) bridges() (v4, v6 []string) {
	links, err := nlmsg.Retry(k.nl.LinkList)
	if err != nil {
		return nil, nil
	}
	ports := map[int]bool{}
	for _, l := range links {
		ports[l.Attrs().MasterIndex] = true
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	uplinks, err := k.uplinks(names)
	if err != nil {
		return nil, nil
	}
	for _, l := range links {
		isUplink := slices.ContainsFunc(uplinks, func(u apply.Uplink) bool { return u.Name == l.Attrs().Name })
		if l.Type() != "bridge" || !ports[l.Attrs().Index] || isUplink {
			continue
		}
		addrs, _ := nlmsg.Retry(func() ([]netlink.Addr, error) { return k.nl.AddrList(l, netlink.FAMILY_ALL) })
		has := func(is func(netip.Addr) bool) bool {
			return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
				p, ok := nlmsg.Prefix(a.IPNet)
				return ok && !p.Addr().IsLinkLocalUnicast() && is(p.Addr())
			})
		}
		sign := "the bridge " + l.Attrs().Name
		if has(netip.Addr.Is4) {
			v4 = append(v4, sign)
		}
		if has(netip.Addr.Is6) {
			v6 = append(v6, sign)
		}
	}
	return v4, v6
}

// sysctlFiles are the files of sysctl.d(5) that set one of the parameters to what it
// is now. Patterns are nobody's need of this one.
func sysctlFiles(keys map[string]bool, now map[string]string) needs {
	found := needs{}
	files := []string{"/etc/sysctl.conf"}
	for _, dir := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		in, _ := filepath.Glob(dir + "/sysctl.d/*.conf") // the pattern is a good one
		files = append(files, in...)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "-"), "=")
			key, err := tunnel.SysctlPath(strings.TrimSpace(name))
			if !ok || err != nil || !keys[key] || strings.TrimSpace(value) != now[key] {
				continue
			}
			if who := "what wrote " + file; !slices.Contains(found[key], who) {
				found[key] = append(found[key], who)
			}
		}
	}
	return found
}

// newNeeds are those of the parameters that the plan is the first to set, before it
// does.
func (s *Session) newNeeds(plan *apply.Plan) needs {
	keys, now := map[string]bool{}, map[string]string{}
	for _, step := range plan.Steps {
		if c, ok := step.Change.(apply.SysctlChange); ok && c.New != c.Old {
			if _, had := s.mine.Entries[c.Resource()]; !had {
				keys[c.Key], now[c.Key] = true, c.New
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found := s.needs(keys, now, s.mine.Entries)
	for key := range keys {
		found[key] = slices.Concat([]string{}, found[key]) // known, if to be nobody
	}
	return found
}

// rememberNeeds writes them down, once the plan was taken. Where that cannot be, down
// puts back what there was.
func rememberNeeds(name string, fresh needs) {
	if fresh == nil {
		return
	}
	all, err := readNeeds(name)
	if err != nil {
		all = needs{}
	}
	maps.Copy(all, fresh)
	if text, err := json.Marshal(all); err == nil {
		files.Replace(journal.NeedsPath(RunDir, name), bytes.NewReader(text), files.Replacement{Mode: 0o600, Unsynced: true})
	}
}

func readNeeds(name string) (needs, error) {
	text, err := os.ReadFile(journal.NeedsPath(RunDir, name))
	if err != nil {
		return nil, err
	}
	var all needs
	err = json.Unmarshal(text, &all)
	return all, err
}
