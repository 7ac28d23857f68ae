// Package needs finds out who besides a tunnel needs the kernel parameters that the tunnel
// set, so that a down does not reset them under a running service.
package needs

import (
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/interfaces"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/rule"
	"wgkeys/deploy/tunnel"
)

// Signs are, by kernel parameter, what on the host shows that somebody needs its present
// value. They are compared with those from before a tunnel set the parameter: what was
// there already worked without it.
type Signs map[string][]string

// Observe finds who has come to need the parameters that a plan may put back. The signs
// from before are stored in dir.
func Observe(nl *netlink.Handle, dir, name string, s *apply.State, view *tunnel.View, entries journal.Entries) {
	before, err := read(dir, name)
	if err != nil || view != nil && view.Forward { // without a record nothing is known; a router puts nothing back
		return
	}
	keys := map[string]bool{}
	for resource := range entries {
		if resource.Kind == journal.Sysctl {
			keys[resource.Name] = true
		}
	}
	for key, now := range find(nl, keys, s.Sysctls, entries) {
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

// find looks for signs of need. For forwarding these are rules that translate addresses,
// and bridges with containers or virtual machines; for src_valid_mark, routing rules that
// match a mark; and for each parameter, a file that sets it at boot.
func find(nl *netlink.Handle, keys map[string]bool, sysctls map[string]string, ours journal.Entries) Signs {
	found := sysctlFiles(keys, sysctls)
	if keys[sourceMark] {
		found[sourceMark] = append(found[sourceMark], rule.ByMark(nl, ours)...)
	}
	if !keys[forward4] && !keys[forward6] {
		return found
	}
	v4, v6 := nft.Translations()
	bridges4, bridges6 := interfaces.Bridges(nl)
	for key, signs := range map[string][]string{forward4: slices.Concat(v4, bridges4),
		forward6: slices.Concat(v6, bridges6)} {
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

// sysctlFiles returns, by parameter, the files of sysctl.d(5) that set it to its present
// value. Patterns such as net.ipv4.conf.*.forwarding do not count: they do not name this
// parameter.
func sysctlFiles(keys map[string]bool, now map[string]string) Signs {
	found := Signs{}
	for _, file := range sysctlPaths() {
		text, _ := os.ReadFile(file)
		for _, key := range setBy(string(text), keys, now) {
			found[key] = append(found[key], "what wrote "+file)
		}
	}
	return found
}

// setBy returns the parameters, each once, that a text in the format of sysctl.d(5) sets to
// their present values.
func setBy(text string, keys map[string]bool, now map[string]string) (set []string) {
	for line := range strings.Lines(text) {
		key, value, ok := assignment(line)
		if ok && keys[key] && value == now[key] && !slices.Contains(set, key) {
			set = append(set, key)
		}
	}
	return set
}
