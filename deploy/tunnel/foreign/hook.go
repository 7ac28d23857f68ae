package foreign

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/keyring"
)

// Hook takes in a command that the program runs when the interface comes up or goes
// down, as far as a tunnel file says the same: d gets what it does. What it does besides
// is added to d.Left. The key is the program's word for when it runs: "PostUp",
// "pre-up". On the way down a command that only takes back such a thing is left out
// silently, for `wgkeys down` does that by itself.
func (d *Device) Hook(at Pos, key, command string) {
	down := strings.Contains(strings.ToLower(key), "down")
	for _, c := range commands(command) {
		h := &hook{d: d, at: at, down: down}
		why, ok := runsNone, false
		if words, simple := fields(c); simple {
			why, ok = h.run(h.named(words))
		}
		if !ok {
			d.Left = append(d.Left, Left{Pos: at, What: key + " = " + unsecret(c), Why: why, Hook: true})
		}
	}
}

// unsecret is a command as it may be shown.
func unsecret(command string) string {
	words := strings.Fields(command)
	for i, w := range words {
		if maybeSecret(w) && !strings.HasPrefix(w, "/") {
			words[i] = "(what may be a key)"
		}
	}
	s := strings.Join(words, " ")
	if r := []rune(s); len(r) > 120 {
		s = string(r[:120]) + "…"
	}
	return s
}

// A hook is one simple command.
type hook struct {
	d    *Device
	at   Pos
	down bool
	six  bool // ip -6
}

// self stands for the interface among the words of a command.
const self = "%i"

// named puts self where the words name the interface, as wg-quick ("%i") and ifupdown
// ("$IFACE") do, or by its name.
func (h *hook) named(words []string) []string {
	for i, w := range words {
		if w == h.d.Name || w == "$IFACE" || w == "${IFACE}" || w == "$INTERFACE" {
			words[i] = self
		}
	}
	for i, w := range words { // within a path
		if strings.HasPrefix(w, "/") || strings.Contains(w, ".conf.") {
			w = strings.ReplaceAll(strings.ReplaceAll(w, "${IFACE}", h.d.Name), "$IFACE", h.d.Name)
			words[i] = strings.ReplaceAll(w, "%i", h.d.Name)
		}
	}
	return words
}

// run takes in one command: ok, or why not.
func (h *hook) run(words []string) (why string, ok bool) {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "exec") {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", true
	}
	program := words[0][strings.LastIndexByte(words[0], '/')+1:]
	if take, ok := programs[program]; ok {
		return take(h, words[1:])
	}
	if why, ok := refused[program]; ok {
		return why, false
	}
	return runsNone, false
}

const runsNone = "a tunnel file runs no program"

// programs are those whose commands a tunnel file may say too.
var programs = map[string]func(*hook, []string) (why string, ok bool){
	"true":             nothing,
	":":                nothing,
	"sysctl":           (*hook).sysctl,
	"ip":               (*hook).ip,
	"wg":               (*hook).wg,
	"iptables":         (*hook).iptables,
	"ip6tables":        (*hook).iptables,
	"iptables-nft":     (*hook).iptables,
	"iptables-legacy":  (*hook).iptables,
	"ip6tables-nft":    (*hook).iptables,
	"ip6tables-legacy": (*hook).iptables,
	"resolvectl":       (*hook).resolvectl,
	"echo":             (*hook).echo,
	"modprobe":         modprobe,
	"[":                condition,
	"test":             condition,
}

// refused are others that are common, with what becomes of them.
var refused = map[string]string{
	"nft":          "the firewall stays yours; masquerade, isolate and forward may say it",
	"ufw":          "the firewall stays yours; masquerade, isolate and forward may say it",
	"firewall-cmd": "the firewall stays yours; masquerade, isolate and forward may say it",
	"ipset":        "the firewall stays yours; masquerade, isolate and forward may say it",
	"ping":         "keepalive = 25 keeps a path open",
}

func nothing(*hook, []string) (string, bool) { return "", true }

func modprobe(_ *hook, args []string) (string, bool) {
	return runsNone, slices.Equal(args, []string{"wireguard"})
}

// condition takes in a question whether the interface is there already.
func condition(_ *hook, args []string) (string, bool) {
	return "a tunnel file has no conditions", slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "/sys/class/net/")
	})
}

// sysctl takes in sysctl(8): forwarding is a key of its own, the rest of net.* is kept.
func (h *hook) sysctl(args []string) (string, bool) {
	why, all := "", true
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			continue
		}
		key, value, ok := strings.Cut(a, "=")
		if w, took := h.set(strings.TrimSpace(key), strings.TrimSpace(value)); !ok || !took {
			why, all = w, false
		}
	}
	return why, all
}

func (h *hook) set(key, value string) (string, bool) {
	parts := strings.Split(strings.ReplaceAll(key, "/", "."), ".")
	switch {
	case h.down:
		return "", parts[0] == "net" // down puts back what there was
	case key == "net.ipv4.ip_forward", len(parts) == 5 && parts[4] == "forwarding":
		if value == "1" {
			h.d.Forward = true
			h.forwards()
		}
		return "", true
	case len(parts) == 5 && parts[4] == "proxy_ndp":
		return "", true // ndp_proxy sets it
	case parts[0] != "net":
		return "only net.* belongs to a tunnel", false
	}
	if h.d.Sysctls == nil {
		h.d.Sysctls = map[string]string{}
	}
	h.d.Sysctls[key] = value
	if h.d.Forward {
		h.forwards()
	}
	return "", true
}

// forwards takes out what forward does by itself: router advertisements are kept, on the
// uplinks that have them.
func (h *hook) forwards() {
	maps.DeleteFunc(h.d.Sysctls, func(key, value string) bool {
		return strings.HasPrefix(key, "net.ipv6.conf.") && strings.HasSuffix(key, ".accept_ra") && value == "2"
	})
	if len(h.d.Sysctls) == 0 {
		h.d.Sysctls = nil
	}
}

// echo takes in "echo 1 > /proc/sys/net/ipv4/ip_forward".
func (h *hook) echo(args []string) (string, bool) {
	at := slices.Index(args, ">")
	if at < 0 {
		return "", true // it only says something
	}
	if at != 1 || len(args) != 3 {
		return "a tunnel file writes no file", false
	}
	key, ok := strings.CutPrefix(args[2], "/proc/sys/")
	if !ok {
		return "a tunnel file writes no file", false
	}
	return h.set(strings.ReplaceAll(key, "/", "."), args[0])
}

// ip takes in ip(8).
func (h *hook) ip(args []string) (string, bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		h.six = h.six || args[0] == "-6"
		args = args[1:]
	}
	if len(args) < 2 {
		return runsNone, false
	}
	object, verb, rest := args[0], args[1], args[2:]
	switch {
	case is(object, "link"):
		return h.link(verb, rest)
	case is(object, "address"):
		return h.address(verb, rest)
	case is(object, "route"):
		return h.route(verb, rest)
	case is(object, "neighbour") || is(object, "neighbor"):
		return h.neighbour(verb, rest)
	case is(object, "rule"):
		return "policy routing: a default route of the tunnel has rules of its own, and table names another one", false
	}
	return runsNone, false
}

// is tells whether word is an abbreviation that ip(8) takes for full.
func is(word, full string) bool { return len(word) > 0 && strings.HasPrefix(full, word) }

func (h *hook) link(verb string, args []string) (string, bool) {
	if !slices.Contains(args, self) {
		return "it is about another interface", false
	}
	for i, a := range args {
		if a == "mtu" && i+1 < len(args) {
			n, err := strconv.Atoi(args[i+1])
			if err != nil {
				return "its MTU is no number", false
			}
			h.d.MTU = n
		}
	}
	if i := slices.Index(args, "alias"); i >= 0 && i+1 < len(args) {
		if _, ok := Comment(args[i+1]); !ok {
			return "the alias may hold a key", false
		}
		h.d.Description = args[i+1]
	}
	if slices.Contains(args, "type") && !slices.Contains(args, "wireguard") {
		return "it makes another kind of interface", false
	}
	return "", slices.Contains([]string{"add", "a", "set", "s", "del", "delete", "d"}, verb)
}

func (h *hook) address(verb string, args []string) (string, bool) {
	at := slices.Index(args, "dev")
	if at < 0 || at+1 >= len(args) || args[at+1] != self {
		return "it is about another interface", false
	}
	switch verb {
	case "del", "delete", "d":
		return "", h.down
	case "add", "a", "replace":
	default:
		return runsNone, false
	}
	a := Address{Pos: h.at}
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "dev":
			i++
		case "peer":
			i++
			if i < len(args) {
				a.Remote = prefix(args[i])
			}
		case "local", "noprefixroute", "nodad":
		default:
			if a.Local = prefix(args[i]); !a.Local.IsValid() {
				return "its address cannot be read", false
			}
		}
	}
	if !a.Local.IsValid() {
		return "its address cannot be read", false
	}
	h.d.Addresses = append(h.d.Addresses, a)
	return "", true
}

// prefix reads a prefix or an address alone; the zero Prefix is none.
func prefix(s string) netip.Prefix {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	p, _ := netip.ParsePrefix(s)
	return p
}

func (h *hook) route(verb string, args []string) (string, bool) {
	if verb == "del" || verb == "delete" || verb == "d" {
		return "it is about another interface", h.down && slices.Contains(args, self)
	}
	if verb != "add" && verb != "a" && verb != "replace" && verb != "append" || len(args) == 0 {
		return runsNone, false
	}
	r, why := h.routeTo(args[0])
	if why != "" {
		return why, false
	}
	dev, why := r.options(args[1:])
	switch {
	case why != "":
		return why, false
	case dev != self:
		return "it is a route of another interface", false
	case args[0] == "default" && r.Gateway.Is6():
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	h.d.Routes = append(h.d.Routes, r)
	return "", true
}

// routeTo is a route of the prefix that ip-route(8) gets.
func (h *hook) routeTo(to string) (r Route, why string) {
	r.Pos = h.at
	switch {
	case to == "default" && h.six:
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case to == "default":
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	default:
		if r.Prefix = prefix(to).Masked(); !r.Prefix.IsValid() {
			return r, "its prefix cannot be read"
		}
	}
	return r, ""
}

// options reads what follows the prefix.
func (r *Route) options(args []string) (dev, why string) {
	for len(args) > 0 {
		if args[0] == "onlink" {
			args = args[1:]
			continue
		}
		if len(args) < 2 {
			return dev, "its " + args[0] + " cannot be read"
		}
		name, value := args[0], args[1]
		var err error
		switch name {
		case "dev":
			dev = value
		case "via":
			r.Gateway, err = netip.ParseAddr(value)
		case "table":
			r.Table, err = strconv.Atoi(value)
		case "metric", "preference":
			r.Metric, err = strconv.Atoi(value)
		case "proto", "scope":
		default:
			return dev, "its " + name + " cannot be said"
		}
		if err != nil {
			return dev, "its " + name + " cannot be read"
		}
		args = args[2:]
	}
	return dev, ""
}

// neighbour takes in `ip -6 neigh add proxy ADDRESS dev UPLINK`.
func (h *hook) neighbour(verb string, args []string) (string, bool) {
	if len(args) < 2 || args[0] != "proxy" {
		return runsNone, false
	}
	addr, err := netip.ParseAddr(args[1])
	if err != nil || !addr.Is6() {
		return "its address cannot be read", false
	}
	if !h.down && (is(verb, "add") || verb == "replace") {
		h.d.Proxies = append(h.d.Proxies, addr)
	}
	return "", true
}

// wg takes in wg(8).
func (h *hook) wg(args []string) (string, bool) {
	if len(args) < 3 || args[1] != self {
		return runsNone, false
	}
	switch args[0] {
	case "setconf", "addconf", "syncconf":
		if !strings.HasPrefix(args[2], "/") {
			return "its file has no absolute path", false
		}
		h.d.Conf = args[2]
		return "", true
	case "set":
		return h.wgSet(args[2:])
	}
	return runsNone, false
}

// wgSet takes in `wg set`, which adds the peers that are not there yet.
func (h *hook) wgSet(args []string) (string, bool) {
	if h.down {
		return "", true
	}
	var peer *Peer
	for len(args) > 0 {
		name, value := args[0], ""
		if args = args[1:]; len(args) > 0 {
			value, args = args[0], args[1:]
		}
		why, ok := "", false
		switch name {
		case "private-key", "listen-port", "fwmark":
			why, ok = h.wgInterface(name, value)
		case "peer":
			if peer = h.peer(value); peer == nil {
				return "its peer is no public key", false
			}
			ok = true
		default:
			if peer == nil {
				return "it names no peer", false
			}
			why, ok = h.wgPeer(peer, name, value)
		}
		if !ok {
			return why, false
		}
	}
	return "", true
}

func (h *hook) wgInterface(name, value string) (string, bool) {
	if name == "private-key" {
		h.d.PrivateKeyFile = value
		return "a key comes from a file with an absolute path", strings.HasPrefix(value, "/")
	}
	n, err := strconv.ParseUint(value, 0, 32)
	switch {
	case err != nil || name == "listen-port" && n > 65535:
		return "its " + name + " cannot be read", false
	case name == "fwmark":
		h.d.FwMark = uint32(n)
	default:
		h.d.ListenPort = int(n)
	}
	return "", true
}

func (h *hook) wgPeer(peer *Peer, name, value string) (string, bool) {
	r := &Reader{}
	switch name {
	case "preshared-key":
		peer.PresharedKeyFile = value
		return "a key comes from a file with an absolute path", strings.HasPrefix(value, "/")
	case "endpoint":
		peer.Endpoint = r.Endpoint(h.at, name, value)
	case "persistent-keepalive":
		if value != "off" {
			peer.Keepalive = r.Number(h.at, name, value, 0, 65535)
		}
	case "allowed-ips":
		peer.AllowedIPs = nil
		for s := range strings.SplitSeq(value, ",") {
			if p, ok := r.Prefix(h.at, name, s); ok {
				peer.AllowedIPs = append(peer.AllowedIPs, p.Masked())
			}
		}
	default:
		return "its " + name + " cannot be said", false
	}
	return "its " + name + " cannot be read", r.Err() == nil
}

// peer is the one with that key, or a new one; nil: it is no key.
func (h *hook) peer(key string) *Peer {
	public, err := keyring.ParsePublicKey([]byte(key))
	if err != nil {
		return nil
	}
	for i := range h.d.Peers {
		if h.d.Peers[i].PublicKey == public {
			return &h.d.Peers[i]
		}
	}
	h.d.Peers = append(h.d.Peers, Peer{Pos: h.at, PublicKey: public})
	return &h.d.Peers[len(h.d.Peers)-1]
}

// resolvectl takes in `resolvectl dns IFACE ADDRESS...` and `resolvectl domain`.
func (h *hook) resolvectl(args []string) (string, bool) {
	if len(args) < 2 || args[1] != self {
		return "dns = names the resolvers", false
	}
	switch args[0] {
	case "dns", "domain":
		if !h.down {
			h.d.DNS = append(h.d.DNS, args[2:]...)
		}
		return "", true
	case "revert":
		return "", h.down
	}
	return "dns = names the resolvers", false
}
