package foreign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
)

// Routes that would catch the encrypted packets are in a table of their own, which packets
// with the tunnel's mark do not use. wg-quick(8) does the same, with this number for both.
const (
	PolicyTable = 51820
	MarkSysctl  = "net.ipv4.conf.all.src_valid_mark"
)

// PolicyRouted returns the routes of v that would catch the encrypted packets. The address
// of an endpoint that is a name is not known here, so a default route always counts then.
func PolicyRouted(v *tunnel.View) map[netip.Prefix]bool {
	routes := map[netip.Prefix]bool{}
	named := slices.ContainsFunc(v.Peers, func(p tunnel.Peer) bool {
		return slices.ContainsFunc(p.Endpoints(), func(endpoint string) bool {
			_, err := netip.ParseAddrPort(endpoint)
			return err != nil
		})
	})
	for _, r := range v.Routes {
		if NeedsTable(v, r) || named && r.Prefix.Bits() == 0 && v.Table == 0 {
			routes[r.Prefix] = true
		}
	}
	return routes
}

// PolicyMark is the mark that the rules match.
func PolicyMark(v *tunnel.View) uint32 {
	if v.FwMark != 0 {
		return v.FwMark
	}
	return PolicyTable
}

// PolicyRules returns the commands for the rules of the routes of [PolicyRouted], with %s
// for "add" or "del".
func PolicyRules(v *tunnel.View, routes map[netip.Prefix]bool) (commands []string) {
	for _, f := range []struct {
		option string
		is4    bool
	}{{"-4", true}, {"-6", false}} {
		needed := false
		for prefix := range routes {
			needed = needed || prefix.Addr().Is4() == f.is4
		}
		if needed {
			commands = append(commands,
				fmt.Sprintf("ip %s rule %%s not fwmark %#x table %d", f.option, PolicyMark(v), PolicyTable),
				fmt.Sprintf("ip %s rule %%s table main suppress_prefixlength 0", f.option))
		}
	}
	return commands
}

// PolicyRule recognises a command of [PolicyRules]; policy reports whether it is that of the
// table.
func PolicyRule(command string) (policy, ok bool) {
	w := strings.Fields(command)
	if len(w) < 4 || w[0] != "ip" || w[1] != "-4" && w[1] != "-6" || w[2] != "rule" {
		return false, false
	}
	rest := strings.Join(w[4:], " ")
	var mark uint32
	var table int
	n, err := fmt.Sscanf(rest, "not fwmark %v table %d", &mark, &table)
	switch {
	case rest == "table main suppress_prefixlength 0":
		return false, true
	case err == nil && n == 2 && table == PolicyTable && rest == fmt.Sprintf("not fwmark %#x table %d", mark, table):
		return true, true
	}
	return false, false
}

// EndPolicy removes the table, mark and sysctl of policy routing, which apply chooses by
// itself.
func (d *Device) EndPolicy() {
	for i := range d.Routes {
		if d.Routes[i].Table == PolicyTable {
			d.Routes[i].Table = 0
		}
	}
	if d.FwMark == PolicyTable {
		d.FwMark = 0
	}
	if delete(d.Sysctls, MarkSysctl); len(d.Sysctls) == 0 {
		d.Sysctls = nil
	}
}
