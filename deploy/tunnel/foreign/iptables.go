package foreign

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A rule is what an iptables command says, as far as it is examined.
type rule struct {
	table, chain, target string
	in, out              string
	source, dest         string // addresses
	notOut, established  bool
	state                bool // it matches only packets of some connection state
	notDest              bool
	port                 bool // --dport is given
	other                bool // it has an option that is not examined
	adds                 bool // -A or -I; otherwise -D or -C
	first                bool // -I, before all other rules
	checks               bool // -C
}

// iptables reads a command of iptables(8): masquerading, the isolation of peers, and the
// permission to forward, which needs no rule where nothing forbids it.
func (h *hook) iptables(args []string) (string, bool) {
	r, ok := readRule(args)
	if !ok {
		h.holds = !h.down && dropsByPolicy(args)
		return "the firewall stays yours", false
	}
	if r.checks && !h.down { // before || with the rule itself, which is read on its own
		return "", true
	}
	if h.down || !r.adds {
		return "the firewall stays yours", !r.adds && r.understood()
	}
	return h.addRule(r)
}

func (h *hook) addRule(r rule) (string, bool) {
	switch {
	case r.chain == "POSTROUTING":
		return h.masquerade(r)
	case r.chain == "FORWARD" && r.target == "ACCEPT" && r.forwards():
		h.d.Forward = true
		h.left.Why = "a rule that drops other packets is left out, and the two make sense only together"
		h.d.Allows = append(h.d.Allows[:len(h.d.Allows):len(h.d.Allows)], h.left)
		if r.between() {
			h.between(r, false)
		}
		return "", true
	case r.apart():
		h.d.Isolate = true
		h.between(r, true)
		return "", true
	case r.holdsBack():
		h.holds = true
	case r.chain == "INPUT" && r.target == "ACCEPT" && r.port:
		return "keep the port open in your firewall: plan and status say so where it is closed", false
	}
	return "the firewall stays yours", false
}

// understood reports whether a rule that is removed is one of those that are read when they
// are added.
func (r rule) understood() bool {
	return r.masquerades() || r.chain == "FORWARD" && r.target == "ACCEPT" && r.forwards() || r.apart()
}

func (r rule) masquerades() bool {
	return r.table == "nat" && r.chain == "POSTROUTING" && r.target == "MASQUERADE" && !r.other && !r.state
}

// tunnels reports whether the tunnel's own addresses or a peer's are among the addresses.
// It assumes so if none of them was read yet.
func (h *hook) tunnels(addresses string) bool {
	if h.d.Conf != "" || len(h.d.Addresses) == 0 && len(h.d.Peers) == 0 {
		return true
	}
	for s := range strings.SplitSeq(addresses, ",") {
		p := prefix(s)
		inside := func(a netip.Prefix) bool { return a.Bits() >= Wide && p.Overlaps(a) }
		own := func(a Address) bool { return inside(a.Local) }
		peers := func(p Peer) bool { return slices.ContainsFunc(p.AllowedIPs, inside) }
		if slices.ContainsFunc(h.d.Addresses, own) || slices.ContainsFunc(h.d.Peers, peers) {
			return true
		}
	}
	return false
}

// forwards reports whether a rule is for packets that come from the tunnel or go into it,
// according to its interfaces, or if it has none to its addresses or the connection state.
func (r rule) forwards() bool {
	tunnels := r.in == self || r.out == self
	if r.in == "" && r.out == "" {
		tunnels = r.established || r.source != "" || r.dest != ""
	}
	return !r.other && r.table == "filter" && !r.notDest && tunnels
}

// apart reports whether a rule drops packets between any two peers.
func (r rule) apart() bool {
	return r.between() && r.in == self && r.out == self && (r.target == "DROP" || r.target == "REJECT")
}

// between reports whether a rule matches all packets from one peer to another.
func (r rule) between() bool {
	conditions := r.other || r.state || r.source != "" || r.dest != "" || r.notOut
	ways := (r.in == self || r.in == "") && (r.out == self || r.out == "") && (r.in == self || r.out == self)
	return !conditions && ways && r.chain == "FORWARD"
}

// between records where in the chain a rule is that matches all packets from one peer to another.
func (h *hook) between(r rule, drops bool) {
	b := []Between{{h.left, h.six, drops}}
	if r.first {
		h.d.Between = slices.Concat(b, h.d.Between)
		return
	}
	h.d.Between = slices.Concat(h.d.Between, b)
}

// holdsBack reports whether a rule drops packets that come from the tunnel or go into it, or
// may do so.
func (r rule) holdsBack() bool {
	return r.chain == "FORWARD" && (r.target == "DROP" || r.target == "REJECT") &&
		(r.in == self || r.out == self || r.in == "" && r.out == "")
}

// dropsByPolicy reports whether a command has the chain of forwarded packets drop those that no
// rule lets through, as -P FORWARD DROP does.
func dropsByPolicy(args []string) bool {
	at := slices.IndexFunc(args, func(a string) bool { return a == "-P" || a == "--policy" })
	return at >= 0 && slices.Equal(args[at+1:], []string{"FORWARD", "DROP"})
}

// SettleForward leaves out the rules that let packets through, if one is left out that
// drops others, and those that keep peers apart behind one that lets their packets through.
func (d *Device) SettleForward() {
	apart := false
	for i, b := range d.Between {
		through := func(o Between) bool { return o.IPv6 == b.IPv6 && !o.Drops }
		switch {
		case !b.Drops:
		case slices.ContainsFunc(d.Between[:i], through):
			b.Left.Why = "a rule before it lets these packets through: isolate = true would keep the peers apart"
			d.Left = append(d.Left, b.Left)
		default:
			apart = true
		}
	}
	d.Isolate = d.Isolate && (apart || len(d.Between) == 0)
	d.Between = nil
	if d.HoldsBack {
		d.Left = append(d.Left, d.Allows...)
	}
	d.Allows = nil
}

func (h *hook) masquerade(r rule) (string, bool) {
	if why := r.noMasquerade(); why != "" {
		return why, false
	}
	m := &h.d.Masquerade
	switch {
	case r.out == self && !r.notOut && r.dest == "":
		m.Tunnel = r.ofNetworks()
		return "masquerade is for whatever goes into the tunnel, and this is for " + r.source, m.Tunnel
	case r.dest != "" && !(r.notDest && h.tunnels(r.dest)):
		return "masquerade is for all that leaves the tunnel, wherever it goes", false
	case r.source != "" && !h.tunnels(r.source):
		return "masquerade is for what comes out of the tunnel, and none of its addresses is in " + r.source, false
	case r.out == "" || r.out == self:
		h.byAll(r)
	case r.notOut:
		return "masquerade names the uplinks, not those that are none", false
	case strings.HasSuffix(r.out, "+"):
		return "masquerade names each uplink, and " + r.out + " is all whose names begin so", false
	default:
		if !slices.Contains(m.Uplinks, r.out) {
			m.Uplinks = append(m.Uplinks, r.out)
		}
		h.rule(r.out, r.source)
	}
	return "", true
}

// noMasquerade returns why a rule of POSTROUTING is more or less than masquerading, or "".
func (r rule) noMasquerade() string {
	switch {
	case r.masquerades():
		return ""
	case r.target == "MASQUERADE":
		return "masquerade has no conditions but the uplink, and no options"
	}
	return "only masquerade can be said: addresses that are written out stay in your firewall"
}

// byAll masquerades by all uplinks. A rule without an interface is for packets into the tunnel as
// well, which masquerade = true is not.
func (h *hook) byAll(r rule) {
	h.d.Masquerade.All = true
	h.rule("", r.source)
	if r.out == "" && r.source == "" {
		h.left.Why = bothWays
		h.d.Left = append(h.d.Left, h.left)
	}
}

// bothWays says what is lost of masquerading by all uplinks and into the tunnel at once.
const bothWays = `it is for what goes into the tunnel, too: masquerade = true is not, and masquerade = ["eth0", "tunnel"] ` +
	"is with the names of the uplinks"

// ofNetworks reports whether the source has no single address.
func (r rule) ofNetworks() bool {
	networks, all := prefixesOf(r.source)
	return all && !slices.ContainsFunc(networks, netip.Prefix.IsSingleIP)
}

// rule records a masquerading rule, to be compared with the peers when all is read.
func (h *hook) rule(uplink, source string) {
	sources, _ := prefixesOf(source)
	m := &h.d.Masquerade
	m.Rules = append(m.Rules[:len(m.Rules):len(m.Rules)], MasqueradeRule{h.left, uplink, sources})
}

// prefixesOf parses a list of prefixes, and reports whether all are valid.
func prefixesOf(list string) (all []netip.Prefix, ok bool) {
	if list == "" {
		return nil, true
	}
	ok = true
	for s := range strings.SplitSeq(list, ",") {
		p := prefix(s)
		all, ok = append(all, p.Masked()), ok && p.IsValid()
	}
	return all, ok
}

// SettleMasquerade drops masquerading whose rules are for some peers only: a tunnel file
// masquerades packets from all of them, and an import must not masquerade more than the
// files do. Rules for one family have to cover only the peers' addresses of that family.
func (d *Device) SettleMasquerade() {
	m := &d.Masquerade
	of := map[string][]MasqueradeRule{}
	for _, r := range m.Rules {
		of[r.Uplink] = append(of[r.Uplink], r)
	}
	for _, uplink := range slices.Sorted(maps.Keys(of)) {
		inside, all := d.beyond(of[uplink])
		if all {
			continue
		}
		for _, r := range of[uplink] {
			r.Left.Why = "masquerade is for whatever comes out of the tunnel, and this is not for " + inside.String()
			d.Left = append(d.Left, r.Left)
		}
		if uplink == "" {
			m.All = false
		}
		m.Uplinks = slices.DeleteFunc(m.Uplinks, func(u string) bool { return u == uplink })
	}
	m.Rules = nil
	if m.All && m.Tunnel {
		m.Tunnel = false
		d.Left = append(d.Left, Left{Pos: d.Pos, What: "masquerade", Why: bothWays})
	}
}

// beyond returns a prefix that packets from the tunnel may have as their source and that no
// rule covers, or all if there is none.
func (d *Device) beyond(rules []MasqueradeRule) (first netip.Prefix, all bool) {
	var sources []netip.Prefix
	var four, six bool
	for _, r := range rules {
		if r.Sources == nil {
			return first, true
		}
		for _, s := range r.Sources {
			four, six = four || s.Addr().Is4(), six || s.Addr().Is6()
			sources = append(sources, s)
		}
	}
	for _, p := range d.senders() {
		if p.Addr().Is4() && !four || p.Addr().Is6() && !six {
			continue
		}
		in := func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) }
		if !slices.ContainsFunc(sources, in) {
			return p, false
		}
	}
	return first, true
}

// senders returns the sources that a tunnel file would masquerade: the peers' allowed IPs
// without default routes or, without peers, the networks of the addresses.
func (d *Device) senders() (all []netip.Prefix) {
	for _, p := range d.Peers {
		for _, a := range p.AllowedIPs {
			if a.Bits() > 0 {
				all = append(all, a)
			}
		}
	}
	if len(d.Peers) == 0 {
		for _, a := range d.Addresses {
			all = append(all, a.Local.Masked())
		}
	}
	return all
}

// readRule reads the options of common rules (iptables(8), iptables-extensions(8)).
func readRule(args []string) (r rule, ok bool) {
	r.table = "filter"
	not := false
	for i := 0; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch a := args[i]; {
		case a == "!":
			not = true
			continue
		case a == "-w" || a == "--wait" || a == "-v":
			continue
		case ruleOptions[a] != nil:
			ruleOptions[a](&r, value, not)
		case strings.Trim(a, "0123456789") == "": // the rule's number in the chain
			r.first = r.first && a == "1"
			continue
		default:
			r.other = true
		}
		not = false
		i++
	}
	return r, r.chain != "" && r.target != ""
}

// ruleOptions are the options with an argument, under each of their names.
var ruleOptions = byEachName(map[string]func(r *rule, value string, not bool){
	"-t --table":  func(r *rule, value string, _ bool) { r.table = value },
	"-A --append": func(r *rule, value string, _ bool) { r.chain, r.adds = value, true },
	"-I --insert": func(r *rule, value string, _ bool) { r.chain, r.adds, r.first = value, true, true },
	"-D --delete": func(r *rule, value string, _ bool) { r.chain, r.adds = value, false },
	"-C --check":  func(r *rule, value string, _ bool) { r.chain, r.checks = value, true },
	"-i --in-interface": func(r *rule, value string, not bool) {
		r.in, r.other = value, r.other || not
	},
	"-o --out-interface": func(r *rule, value string, not bool) { r.out, r.notOut = value, not },
	"-s --source --src": func(r *rule, value string, not bool) {
		r.source, r.other = value, r.other || not
	},
	"-d --destination --dst": func(r *rule, value string, not bool) { r.dest, r.notDest = value, not },
	"-j --jump":              func(r *rule, value string, _ bool) { r.target = value },
	"-m --match": func(r *rule, value string, _ bool) {
		known := slices.Contains([]string{"state", "conntrack", "comment", "udp", "policy"}, value)
		r.other = r.other || !known
	},
	"--state --ctstate": func(r *rule, value string, _ bool) {
		r.state = true
		r.established = strings.Contains(value, "ESTABLISHED")
	},
	"--comment":                  func(*rule, string, bool) {},
	"--reject-with":              func(*rule, string, bool) {}, // what the sender is told
	"-p --protocol":              func(r *rule, _ string, _ bool) { r.other = r.other || r.chain != "INPUT" },
	"--dport --destination-port": func(r *rule, _ string, _ bool) { r.port = true },
})

// byEachName returns the options under each of the names in their key.
func byEachName[T any](options map[string]T) map[string]T {
	all := map[string]T{}
	for names, option := range options {
		for name := range strings.FieldsSeq(names) {
			all[name] = option
		}
	}
	return all
}
