package foreign

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/lazyregexp"
)

// Hook reads a command that the program runs when the interface comes up or goes down. What
// a tunnel file can express is set in d; the rest is added to d.Left. The key is the
// program's name for the moment at which it runs, such as "PostUp" or "pre-up". On the way
// down, a command that only undoes such a setting is dropped silently, because `wgkeys
// down` undoes it anyway.
func (d *Device) Hook(at Pos, key, command string) {
	down := strings.Contains(strings.ToLower(key), "down")
	for _, c := range commands(command) {
		h := &hook{d: d, at: at, down: down, left: Left{Pos: at, What: key + " = " + unsecret(c), Hook: true}}
		if why, ok := h.command(c); !ok {
			h.left.Why = why
			d.Left = append(d.Left, h.left)
			d.HoldsBack = d.HoldsBack || h.holds
		}
	}
}

// command reads a whole command or, if any part of it cannot be expressed, nothing of it.
func (h *hook) command(c string) (why string, ok bool) {
	words, simple := fields(c)
	if !simple {
		return h.unsimple(c), false
	}
	before := *h.d
	before.Peers, before.Sysctls = slices.Clone(h.d.Peers), maps.Clone(h.d.Sysctls)
	words = h.named(words)
	if why, ok = h.run(words); !ok {
		*h.d = before
		why += h.otherName(words)
	}
	return why, ok
}

// unsimple says why a command is left out that is more than a program with its arguments.
func (h *hook) unsimple(c string) string {
	if strings.Contains(c, "OUTPUT") && strings.Contains(c, "--mark $(wg show") {
		return "a default route has such a kill switch by itself: kill_switch = false takes it away"
	}
	if strings.Contains(c, "resolvconf ") {
		return resolvers
	}
	return runsNone
}

// tunnelName matches usual names of WireGuard interfaces.
var tunnelName = lazyregexp.New(`^wg[\w.-]*\d[\w.-]*$`)

// otherName is a hint for a command about another interface than the one that the file is
// named after.
func (h *hook) otherName(words []string) string {
	if i := slices.IndexFunc(words, tunnelName().MatchString); h.d.ByFile && i >= 0 {
		return "; by its file the interface is " + h.d.Name + ": if it is " + words[i] + ", -t " + words[i] + " says so"
	}
	return ""
}

// unsecret returns a command for display, without words that may be keys.
func unsecret(command string) string {
	words := strings.Fields(command)
	for i, w := range words {
		if maybeSecret(w) && (!strings.HasPrefix(w, "/") || keyring.HoldsKey(w)) {
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
	six  bool // ip -6, or ip6tables
	left Left // the command, if it has to be left out

	holds bool // it drops packets of the tunnel
}

// self stands for the interface among the words of a command.
const self = "%i"

// named replaces the interface among the words by self. wg-quick writes it as "%i",
// ifupdown as "$IFACE", and people by its name.
func (h *hook) named(words []string) []string {
	for i, w := range words {
		if i == 0 {
			continue // the program, which an interface may have its name from
		}
		if w == h.d.Name || w == h.d.Alias && w != "" || w == "$IFACE" || w == "${IFACE}" || w == "$INTERFACE" {
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

// run reads one command, and reports whether it could, or why not.
func (h *hook) run(words []string) (why string, ok bool) {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "exec") {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", true
	}
	program := words[0][strings.LastIndexByte(words[0], '/')+1:]
	h.six = strings.HasPrefix(program, "ip6")
	if take, ok := programs[program]; ok {
		return take(h, words[1:])
	}
	if why, ok := refused[program]; ok {
		return why, false
	}
	return runsNone, false
}

const (
	runsNone  = "a tunnel file runs no program"
	resolvers = "dns = names the resolvers"
)

// programs are the programs whose commands a tunnel file may express.
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

// refused are other common programs, with what to do instead.
var refused = map[string]string{
	"nft":          "the firewall stays yours; masquerade, isolate and forward may say it",
	"ufw":          "the firewall stays yours; masquerade, isolate and forward may say it",
	"firewall-cmd": "the firewall stays yours; masquerade, isolate and forward may say it",
	"ipset":        "the firewall stays yours; masquerade, isolate and forward may say it",
	"ping":         "keepalive = 25 keeps a path open",

	"resolvconf":      resolvers,
	"systemd-resolve": resolvers,
}

func nothing(*hook, []string) (string, bool) { return "", true }

func modprobe(_ *hook, args []string) (string, bool) {
	return runsNone, slices.Equal(args, []string{"wireguard"})
}

// condition drops a test whether the interface exists.
func condition(_ *hook, args []string) (string, bool) {
	return "a tunnel file has no conditions", slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "/sys/class/net/")
	})
}

// sysctl reads a command of sysctl(8). Forwarding is a setting of its own; the rest of
// net.* is kept as sysctls.
func (h *hook) sysctl(args []string) (string, bool) {
	why, all := "", true
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			if !writes(a) {
				return "a tunnel file has the kernel parameters themselves", false
			}
			continue
		}
		key, value, ok := strings.Cut(a, "=")
		if w, took := h.set(strings.TrimSpace(key), strings.TrimSpace(value)); !ok || !took {
			why, all = w, false
		}
	}
	return why, all
}

// writes reports whether an option of sysctl(8) leaves it at writing the parameters that are
// its arguments.
func writes(option string) bool {
	switch option {
	case "--write", "--quiet", "--ignore", "--names", "--values":
		return true
	}
	return !strings.HasPrefix(option, "--") && strings.Trim(option, "-ewqnN") == ""
}

func (h *hook) set(key, value string) (string, bool) {
	parts := strings.Split(strings.ReplaceAll(key, "/", "."), ".")
	switch {
	case h.down:
		return "", parts[0] == "net" // down restores the old values
	case key == "net.ipv4.ip_forward", len(parts) == 5 && parts[4] == "forwarding":
		if value != "1" {
			return "a tunnel file turns forwarding on, or leaves it as it is", false
		}
		h.d.Forward = true
		h.forwards()
		return "", true
	case len(parts) == 5 && parts[4] == "proxy_ndp":
		return "", true // ndp_proxy sets it
	case parts[0] != "net":
		return "only net.* belongs to a tunnel", false
	case key == "net.ipv6.conf."+h.d.Name+".disable_ipv6" && value == "1" && !slices.ContainsFunc(h.d.Addresses, isIPv6):
		h.d.WithoutIPv6 = true
		return "", true
	}
	if h.d.Sysctls == nil {
		h.d.Sysctls = map[string]string{}
	}
	h.d.Sysctls[key] = value
	h.d.Mark("sysctls "+key, h.at)
	if h.d.Forward {
		h.forwards()
	}
	return "", true
}

func isIPv6(a Address) bool { return a.Local.Addr().Is6() }

// forwards drops the sysctls that forward implies: with it, uplinks keep accepting router
// advertisements.
func (h *hook) forwards() {
	maps.DeleteFunc(h.d.Sysctls, func(key, value string) bool {
		return strings.HasPrefix(key, "net.ipv6.conf.") && strings.HasSuffix(key, ".accept_ra") && value == "2"
	})
	if len(h.d.Sysctls) == 0 {
		h.d.Sysctls = nil
	}
}

// echo reads a command like "echo 1 > /proc/sys/net/ipv4/ip_forward".
func (h *hook) echo(args []string) (string, bool) {
	at := slices.Index(args, ">")
	if at < 0 {
		return "", true // it only prints
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

// wg reads a command of wg(8).
func (h *hook) wg(args []string) (string, bool) {
	if len(args) < 3 || args[1] != self {
		return runsNone, false
	}
	switch args[0] {
	case "setconf", "addconf", "syncconf":
		switch {
		case !strings.HasPrefix(args[2], "/"):
			return "its file has no absolute path", false
		case h.d.ByFile, h.d.Conf != "" && h.d.Conf != args[2] && args[0] != "addconf":
			return "its file says more than this one: put the two together", false
		case h.d.Conf != "" && h.d.Conf != args[2]:
			h.d.AddConf = append(h.d.AddConf, args[2])
			return "", true
		}
		h.d.Conf = args[2]
		return "", true
	case "set":
		return h.wgSet(args[2:])
	}
	return runsNone, false
}

// wgSet reads `wg set`, which adds peers that do not exist yet.
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
				return "its peer is not a public key", false
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

const noKeyFile = "a key comes from a file with an absolute path"

// isKeyFile reports whether name is the absolute path of a regular file, as far as its
// directory shows.
func isKeyFile(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && !strings.HasPrefix(name, "/dev/") &&
		!strings.HasPrefix(name, "/proc/")
}

func (h *hook) wgInterface(name, value string) (string, bool) {
	if name == "private-key" {
		h.d.PrivateKeyFile = value
		h.d.Mark("private_key_file", h.at)
		return noKeyFile, isKeyFile(value)
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
	h.d.Mark(name, h.at)
	return "", true
}

func (h *hook) wgPeer(peer *Peer, name, value string) (string, bool) {
	r := &Reader{}
	switch name {
	case "preshared-key":
		peer.PresharedKeyFile = value
		return noKeyFile, isKeyFile(value)
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

// peer returns the peer with that key, adding it if necessary, or nil if key is invalid.
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

// resolvectl reads `resolvectl dns IFACE ADDRESS...` and `resolvectl domain`.
func (h *hook) resolvectl(args []string) (string, bool) {
	if len(args) < 2 || args[1] != self {
		return resolvers, false
	}
	switch args[0] {
	case "dns", "domain":
		if !h.down {
			h.d.DNS = append(h.d.DNS, args[2:]...)
		}
		return "", true
	case "revert":
		return "", h.down
	case "flush-caches":
		return "", true
	case "default-route":
		return h.defaultResolver(args[2:])
	}
	return resolvers, false
}

// defaultResolver reads the argument of `resolvectl default-route IFACE`. Resolvers of a tunnel
// file are asked for every name if "~." is among their domains.
func (h *hook) defaultResolver(args []string) (string, bool) {
	if h.down || len(args) != 1 {
		return resolvers, h.down
	}
	yes := slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(args[0]))
	return `"~." among the domains of dns says it`, yes == slices.Contains(h.d.DNS, "~.")
}
