package ifupdown

import (
	"fmt"
	"net/netip"
	"strings"
)

// saved is where the values of sysctls are while the tunnel is up, as `sysctl -p` reads
// them: in the one folder for it that both programs' hosts have.
const saved = "/run/ifup.$IFACE.sysctl"

// What the stanza of a router has besides. keepAdvertisements lets every interface that
// learns from router advertisements go on with it when the host becomes a router: 2 is
// "even if forwarding is enabled" (Documentation/networking/ip-sysctl.rst, accept_ra),
// and all.accept_ra does nothing.
const (
	saveInterfaces     = `sysctl -a -r '^net\.ipv6\.conf\..*\.(accept_ra|proxy_ndp)$' >>` + saved
	keepAdvertisements = `for ra in /proc/sys/net/ipv6/conf/*/accept_ra; do ` +
		`[ "$(cat "$ra")" != 1 ] || echo 2 >"$ra"; done`
	putBack = "sysctl -q -e -p " + saved
)

// Routes that would take the encrypted packets into the tunnel are in a table of their
// own, which packets with the mark of the tunnel do not look into: as wg-quick(8) does it,
// with its number for both.
const (
	policyTable = 51820
	markSysctl  = "net.ipv4.conf.all.src_valid_mark"
)

// The proxies are on the interfaces that have an IPv6 default route when the tunnel comes up.
const (
	proxyBegin = `for d in $(ip -6 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p'); do `
	proxyOn    = proxyBegin + `echo 1 >"/proc/sys/net/ipv6/conf/$d/proxy_ndp"; for a in `
	proxyOff   = proxyBegin + `for a in `
	proxyAdd   = `; do ip -6 neigh replace proxy "$a" dev "$d"; done; done`
	proxyDel   = `; do ip -6 neigh del proxy "$a" dev "$d"; done; done`
)

// ours is what a command of Format says.
type ours struct {
	proxies []netip.Addr
	policy  bool // rules keep the encrypted packets out of the tunnel
}

// written looks at a command that Format writes and that is more than one simple command,
// or two rules that are one thing: ok, or it is none.
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
	return rule(command)
}

func between(s, begin, end string) (string, bool) {
	s, first := strings.CutPrefix(s, begin)
	s, last := strings.CutSuffix(s, end)
	return s, first && last
}

// proxies are the IPv6 addresses between blanks; nil: something else is among them.
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

// rule takes in the two rules of a policy routed default route.
func rule(command string) (says ours, ok bool) {
	w := strings.Fields(command)
	if len(w) < 4 || w[0] != "ip" || w[1] != "-4" && w[1] != "-6" || w[2] != "rule" {
		return ours{}, false
	}
	rest := strings.Join(w[4:], " ")
	var mark uint32
	var table int
	n, err := fmt.Sscanf(rest, "not fwmark %v table %d", &mark, &table)
	switch {
	case rest == "table main suppress_prefixlength 0":
		return ours{}, true
	case err == nil && n == 2 && table == policyTable && rest == fmt.Sprintf("not fwmark %#x table %d", mark, table):
		return ours{policy: true}, true
	}
	return ours{}, false
}

// housekeeping tells of a command that Format writes for the sake of the way down, or to
// keep router advertisements, which forward says.
func housekeeping(command string) bool {
	switch command {
	case saveInterfaces, keepAdvertisements, putBack:
		return true
	}
	return strings.HasPrefix(command, "sysctl ") && strings.HasSuffix(command, " >"+saved)
}
