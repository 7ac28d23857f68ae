package ifupdown

import (
	"net/netip"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// saved is the file with the old values of sysctls while the tunnel is up, in the format
// that `sysctl -p` reads. Hosts of both programs have this directory.
const saved = "/run/ifup.$IFACE.sysctl"

// Commands in the stanza of a router. keepAdvertisements lets interfaces that learn from
// router advertisements go on with it when the host becomes a router: 2 is "even if
// forwarding is enabled" (accept_ra in Documentation/networking/ip-sysctl.rst), and
// all.accept_ra has no effect.
const (
	saveInterfaces     = `sysctl -a -r '^net\.ipv6\.conf\..*\.(accept_ra|proxy_ndp)$' >>` + saved
	keepAdvertisements = `for ra in /proc/sys/net/ipv6/conf/*/accept_ra; do ` +
		`[ "$(cat "$ra")" != 1 ] || echo 2 >"$ra"; done`
	putBack = "sysctl -q -e -p " + saved
)

// The neighbour proxies are added on the interfaces that have an IPv6 default route when
// the tunnel comes up.
const (
	proxyBegin = `for d in $(ip -6 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p'); do `
	proxyOn    = proxyBegin + `echo 1 >"/proc/sys/net/ipv6/conf/$d/proxy_ndp"; for a in `
	proxyOff   = proxyBegin + `for a in `
	proxyAdd   = `; do ip -6 neigh replace proxy "$a" dev "$d"; done; done`
	proxyDel   = `; do ip -6 neigh del proxy "$a" dev "$d"; done; done`
)

// ours is the meaning of a command that Format wrote.
type ours struct {
	proxies []netip.Addr
	policy  bool // it is a rule of policy routing
}

// written recognises a command of Format that is not a simple command, or that makes sense
// only together with another one; ok is false for any other command.
func written(command string) (says ours, ok bool) {
	if housekeeping(command) {
		return ours{}, true
	}
	if middle, ok := between(command, proxyOff, proxyDel); ok && proxies(middle) != nil {
		return ours{}, true
	}
	if middle, ok := between(command, proxyOn, proxyAdd); ok && proxies(middle) != nil {
		return ours{proxies: proxies(middle)}, true
	}
	policy, ok := foreign.PolicyRule(command)
	return ours{policy: policy}, ok
}

func between(s, begin, end string) (string, bool) {
	s, first := strings.CutPrefix(s, begin)
	s, last := strings.CutSuffix(s, end)
	return s, first && last
}

// proxies returns the IPv6 addresses in s, or nil if it has anything else.
func proxies(s string) (list []netip.Addr) {
	for word := range strings.FieldsSeq(s) {
		a, err := netip.ParseAddr(word)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return nil
		}
		list = append(list, a)
	}
	return list
}

// housekeeping reports whether Format wrote the command to save and restore sysctls, or to
// keep router advertisements. The device needs nothing of that.
func housekeeping(command string) bool {
	switch command {
	case saveInterfaces, keepAdvertisements, putBack:
		return true
	}
	return strings.HasPrefix(command, "sysctl ") && strings.HasSuffix(command, " >"+saved)
}
