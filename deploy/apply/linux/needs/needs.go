// Package needs finds who besides a tunnel needs the kernel parameters that it set, so that
// a down does not take them away from him.
package needs

import (
	"os"
	"path/filepath"
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

// Signs are, by kernel parameter, what on the host shows that somebody needs it as it
// is. They are compared with those from before a tunnel set it: what was there then
// did without.
type Signs map[string][]string

// Observe finds who has come to need the parameters that may be put back. In dir is the
// memory of the tunnels' parameters.
func Observe(nl *netlink.Handle, dir, name string, s *apply.State, view *tunnel.View, entries journal.Entries) {
	before, err := read(dir, name)
	if err != nil || view != nil && view.Forward { // nothing is known, or nothing put back
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

// find looks for signs that somebody routes: packets that leave under another
// address, a bridge of containers or machines; that somebody has rules by mark, which
// the reverse path check is to see; and for files that set the parameter at boot.
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

// sysctlFiles are the files of sysctl.d(5) that set one of the parameters to what it
// is now. Patterns are nobody's need of this one.
func sysctlFiles(keys map[string]bool, now map[string]string) Signs {
	found := Signs{}
	files := []string{"/etc/sysctl.conf"}
	for _, dir := range []string{"/etc", "/run", "/usr/local/lib", "/usr/lib"} {
		in, _ := filepath.Glob(dir + "/sysctl.d/*.conf") // the pattern is a good one
		files = append(files, in...)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, key := range setBy(string(text), keys, now) {
			found[key] = append(found[key], "what wrote "+file)
		}
	}
	return found
}

// setBy are those of the parameters that a text as of sysctl.d(5) sets to what they are
// now, each once.
func setBy(text string, keys map[string]bool, now map[string]string) (set []string) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "-"), "=")
		key, err := tunnel.SysctlPath(strings.TrimSpace(name))
		if ok && err == nil && keys[key] && strings.TrimSpace(value) == now[key] && !slices.Contains(set, key) {
			set = append(set, key)
		}
	}
	return set
}
