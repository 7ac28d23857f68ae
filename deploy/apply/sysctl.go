package apply

import (
	"maps"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
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

// same compares values as the kernel does: any white space separates numbers.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

func acceptRA(link string) string { return interfaces6 + link + "/accept_ra" }

func forwarding4Of(link string) string     { return "net/ipv4/conf/" + link + "/forwarding" }
func forwardingOf(link string) string      { return interfaces6 + link + "/forwarding" }
func forceForwardingOf(link string) string { return interfaces6 + link + "/force_forwarding" }

const (
	interfaces6 = "net/ipv6/conf/"

	conf4, conf6 = "net/ipv4/conf/*/", "net/ipv6/conf/*/"
)

// forceSideEffects returns what becomes of force_forwarding when value is written to
// all.forwarding: 0 takes it from every interface, but from all and default, also
// where all.forwarding was 0 (addrconf_forward_change). Another value leaves it,
// and is listed because its undoing is a 0.
func (s sysctls) forceSideEffects(value string) []SideEffect {
	var effects []SideEffect
	for _, k := range slices.Sorted(maps.Keys(s)) {
		match, _ := path.Match(conf6+"force_forwarding", k)
		if !match || s[k] == "0" || k == forceForwardingOf("all") || k == forceForwardingOf("default") {
			continue
		}
		set := "0"
		if value != "0" {
			set = s[k]
		}
		effects = append(effects, SideEffect{Key: k, Old: s[k], Set: set})
	}
	return effects
}

// sysctlName spells a path as sysctl(8) shows it: dots for slashes, and slashes
// for the dots of an interface's name.
func sysctlName(path string) string { return tunnel.SwapSeparators(path) }
