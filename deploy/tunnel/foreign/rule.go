package foreign

import (
	"net/netip"
	"slices"
	"strconv"
)

// takeRule reads `ip rule VERB ARGS`, of which left has the place. Rules other than those of a
// default route are left out.
func (d *Device) takeRule(left Left, down, ipv6 bool, verb string, args []string) (string, bool) {
	const why = "policy routing: a default route of the tunnel has rules of its own, and table names another one"
	r := Rule{Left: left, Down: down, IPv6: ipv6, Priority: -1}
	r.Left.Why = why
	verbs := []string{"add", "a"}
	if down {
		verbs = []string{"del", "delete", "d"}
	}
	if !slices.Contains(verbs, verb) || !r.read(args) {
		return why, false
	}
	d.Rules = append(d.Rules, r)
	return "", true
}

// read reads the arguments of `ip rule`, and reports whether it is a rule of a default route.
func (r *Rule) read(args []string) bool {
	isNot := func(word string) bool { return word == "not" }
	not, args := slices.ContainsFunc(args, isNot), slices.DeleteFunc(slices.Clone(args), isNot)
	table := ""
	for ; len(args) > 1; args = args[2:] {
		switch name, value := args[0], args[1]; name {
		case "table", "lookup":
			table = value
		default:
			if !r.selector(name, value) {
				return false
			}
		}
	}
	main := table == "main" || table == "254"
	if main || r.suppresses {
		return main && r.suppresses && !not && r.Mark == 0 && len(args) == 0
	}
	n, err := strconv.Atoi(table)
	r.Table = n
	return err == nil && n > 0 && not && r.Mark != 0 && len(args) == 0
}

// selector reads an argument of `ip rule` with its value, and reports whether it may be in a rule
// of a default route.
func (r *Rule) selector(name, value string) bool {
	n, err := strconv.ParseUint(value, 0, 32)
	switch name {
	case "from", "to":
		return value == "all"
	case "suppress_prefixlength", "suppress_prefixlen", "sup_pl":
		r.suppresses = true
		return value == "0"
	case "fwmark":
		r.Mark = uint32(n)
	case "priority", "preference", "pref", "prio", "order":
		r.Priority = int(n)
	default:
		return false
	}
	return err == nil
}

// SettleRules drops the rules of default routes, with their table and mark, which apply chooses by
// itself. Other rules are left out. It is to be called when the mark and all routes are known.
func (d *Device) SettleRules() {
	used := map[int]bool{}
	tables := map[int]bool{}
	for _, ipv6 := range []bool{false, true} {
		if tunnel, main := d.policyRules(ipv6); tunnel >= 0 && main >= 0 && d.leaveTable(d.Rules[tunnel].Table, ipv6) {
			used[tunnel], used[main], tables[d.Rules[tunnel].Table] = true, true, true
		}
	}
	for i, r := range d.Rules {
		undoes := func(other int) bool {
			o := d.Rules[other]
			return r.Down && o.IPv6 == r.IPv6 && o.Table == r.Table && o.Mark == r.Mark
		}
		if used[i] || slices.ContainsFunc(sortedKeys(used), undoes) {
			continue
		}
		d.Left = append(d.Left, r.Left)
	}
	if tables[int(d.FwMark)] {
		d.FwMark = 0 // it was chosen for that
	}
	if len(used) > 0 {
		if delete(d.Sysctls, MarkSysctl); len(d.Sysctls) == 0 {
			d.Sysctls = nil
		}
	}
	d.Rules = nil
}

func sortedKeys(set map[int]bool) (list []int) {
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// policyRules returns the indexes of the two rules of a family if that of the main table is looked
// at first; else -1.
func (d *Device) policyRules(ipv6 bool) (tunnel, main int) {
	tunnel, main = -1, -1
	for i, r := range d.Rules {
		switch {
		case r.Down || r.IPv6 != ipv6:
		case r.Table == 0:
			main = i
		case r.Mark == d.FwMark:
			tunnel = i
		}
	}
	if tunnel < 0 || main < 0 || !d.isBefore(main, tunnel) {
		return -1, -1
	}
	return tunnel, main
}

// mainRule is the priority of the kernel's rule for the main table.
const mainRule = 32766

// isBefore reports whether rule a is looked at before rule b. One without a priority gets the number
// before that of all rules that are there already (fib_default_rule_pref).
func (d *Device) isBefore(a, b int) bool {
	p, q := d.Rules[a].Priority, d.Rules[b].Priority
	switch {
	case p >= 0 && q >= 0:
		return p < q
	case p < 0:
		return a > b
	}
	return a > b && p < mainRule-1
}

// leaveTable takes the routes of a family out of a table, and reports whether there are any. The routes
// for allowed IPs are in one table for both families.
func (d *Device) leaveTable(table int, ipv6 bool) (found bool) {
	for i := range d.Routes {
		if r := &d.Routes[i]; r.Table == table && r.Prefix.Addr().Is6() == ipv6 {
			r.Table, found = 0, true
		}
	}
	of := func(p Peer) bool {
		return p.Routed && slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a.Addr().Is6() == ipv6 })
	}
	other := func(p Peer) bool {
		return p.Routed && slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a.Addr().Is6() != ipv6 })
	}
	if d.Table == table && slices.ContainsFunc(d.Peers, of) && !slices.ContainsFunc(d.Peers, other) {
		d.Table, found = 0, true
	}
	return found
}
