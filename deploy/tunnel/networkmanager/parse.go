// Package networkmanager reads and writes NetworkManager's keyfiles of type wireguard
// (nm-settings-keyfile(5), nm-settings(5), of NetworkManager 1.58).
package networkmanager

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

const tool = "NetworkManager"

// most is how many bytes of files are read at most. 10,000 peers are 2 MB.
const most = 64 << 20

// Parse reads keyfiles, each of which is one interface. Those of other types are ignored.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: tool}
	if !r.Bounded(files, most) {
		return nil, r.Err()
	}
	var devices []*foreign.Device
	for _, f := range files {
		groups := lex(r, f)
		if !slices.ContainsFunc(groups, isWireGuard) {
			continue
		}
		p := &parser{Reader: r, d: &foreign.Device{Pos: foreign.Pos{File: f.Name, Line: 1}}, peerRoutes: true,
			auto: [2]int{-1, -1}}
		for i := range p.ip {
			p.ip[i] = setting{metric: -1, options: map[string]entry{}}
		}
		for _, g := range groups {
			p.group(g)
		}
		p.settle()
		devices = append(devices, p.d)
	}
	if len(devices) == 0 && r.Err() == nil && len(files) > 0 {
		r.Wrong(foreign.Pos{File: files[0].Name, Line: 1}, "", "no keyfile with type=wireguard in [connection] is here")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

// isWireGuard reports whether g is [connection] with type=wireguard.
func isWireGuard(g *group) bool {
	return g.name == "connection" && slices.ContainsFunc(g.entries, func(e entry) bool {
		return e.key == "type" && e.value == "wireguard"
	})
}

// A parser reads one keyfile.
type parser struct {
	*foreign.Reader
	d          *foreign.Device
	peerRoutes bool
	flags      entry  // private-key-flags
	pskFlags   entry  // preshared-key-flags of the current peer
	auto       [2]int // ip4-auto-default-route and ip6-auto-default-route: 1, 0, or -1 for automatic
	ip         [2]setting
	at         *setting // of the current group
}

// A handler reads one line. Each group has a table of handlers for all keys that it may
// have.
type handler func(p *parser, e entry)

// Tables of handlers, by key.
var (
	each     = foreign.Each[handler]
	together = foreign.Together[handler]
)

// ignore handles keys that say nothing about a tunnel.
func ignore(*parser, entry) {}

// left handles keys for which a tunnel file has nothing, unless the value is a harmless
// one.
func left(why string, harmless ...string) handler {
	return func(p *parser, e entry) {
		if e.value != "" && !slices.Contains(harmless, e.value) {
			p.left(e.at, e.key, why)
		}
	}
}

func (p *parser) left(at foreign.Pos, what, why string) {
	p.d.Left = append(p.d.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// groups are the groups that a WireGuard profile may have, besides one for each peer. Those
// after match are for a device of any kind, and netplan writes [ethernet] for all.
var groups = []string{"connection", "wireguard", "wireguard-peer", "ipv4", "ipv6", "proxy", "user", "match", "ethernet",
	"802-3-ethernet", "ethtool", "hostname", "link", "prefix-delegation", "sriov", "tc"}

const peerGroup = "wireguard-peer."

func (p *parser) group(g *group) {
	switch key, isPeer := strings.CutPrefix(g.name, peerGroup); {
	case isPeer:
		peer := foreign.Peer{Pos: g.at, Comment: g.comments, Beside: g.beside}
		peer.PublicKey = p.PublicKey(g.at, "[wireguard-peer.KEY]", key)
		p.d.Peers = append(p.d.Peers, peer)
		p.pskFlags = entry{}
		p.lines(g, "wireguard-peer", peerKeys())
		p.peerDone()
		return
	case g.name == "connection":
		p.lines(g, g.name, connectionKeys())
	case g.name == "wireguard":
		p.lines(g, g.name, wireguardKeys())
	case g.name == "ipv4":
		p.at = &p.ip[0]
		p.lines(g, g.name, ipKeys())
	case g.name == "ipv6":
		p.at = &p.ip[1]
		p.lines(g, g.name, ipKeys())
	case slices.Contains(groups, g.name):
		p.lines(g, g.name, nil)
	case strings.HasPrefix(g.name, "."): // internal to NetworkManager
	default:
		p.Unknown(g.at, "keyfile", g.name, groups)
	}
	p.d.Comment = append(p.d.Comment, g.comments...)
}

// lines passes the lines of g to the handlers in known. If known is nil, all lines are left
// out.
func (p *parser) lines(g *group, name string, known map[string]handler) {
	for _, e := range g.entries {
		switch h := known[stem(e.key, known)]; {
		case known == nil && (e.key != "method" || e.value != "0"):
			p.left(e.at, "["+name+"] "+e.key, "a tunnel file has nothing like it")
		case known == nil:
		case h != nil:
			p.d.Mark(e.key, e.at)
			h(p, e)
		default:
			p.Unknown(e.at, name, e.key, slices.Sorted(maps.Keys(known)))
		}
	}
}

// stem returns the key without the number of those that may occur several times, such as
// address1.
func stem(key string, known map[string]handler) string {
	if known[key] != nil {
		return key
	}
	base, options := strings.CutSuffix(key, "_options")
	base = strings.TrimRight(base, "0123456789")
	if options {
		return base + "_options"
	}
	return base
}

// truth reads a boolean as GLib does. NetworkManager passes by a line with another value, such as
// the "no" of nmcli(1).
func (p *parser) truth(e entry, set func(bool)) {
	switch e.value {
	case "true", "1":
		set(true)
	case "false", "0":
		set(false)
	default:
		p.left(e.at, e.key, foreign.Shown(e.value)+" is neither true nor false: NetworkManager passes the line by")
	}
}

// connectionKeys has what to do with each key of its section. This table and the others are made when
// they are first used: the program is started often, and seldom reads such files.
var connectionKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"interface-name": func(p *parser, e entry) { p.d.Name = e.value },
		"id":             func(p *parser, e entry) { p.d.Description = plain(e.value) },
		"autoconnect":    func(p *parser, e entry) { p.truth(e, func(yes bool) { p.d.Manual = !yes }) },
		"permissions":    left("a tunnel is the host's, not a user's"),
		"zone":           left("a tunnel is in no zone of firewalld"),
	}, each(ignore, "uuid", "type", "timestamp", "read-only", "autoconnect-priority", "autoconnect-retries",
		"auth-retries", "multi-connect", "stable-id", "wait-device-timeout", "wait-activation-delay", "lldp", "metered",
		"mud-url", "gateway-ping-timeout", "ip-ping-timeout", "ip-ping-addresses", "ip-ping-addresses-require-all",
		"down-on-poweroff", "mptcp-flags", "autoconnect-slaves", "autoconnect-ports"),
		each(left(noResolver, "-1", "default"), "mdns", "llmnr", "dns-over-tls", "dnssec"),
		each(left("a tunnel's interface is no part of another one, and starts no other one"), "master", "controller",
			"slave-type",
			"port-type", "secondaries"))
})

const noResolver = "a tunnel gives resolvers and domains, and leaves the rest to the host's resolver"

var wireguardKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"private-key":       func(p *parser, e entry) { p.d.PrivateKey = p.PrivateKey(e.at, e.key, e.value) },
		"private-key-flags": func(p *parser, e entry) { p.flags = e; p.Number(e.at, e.key, e.value, 0, 7) },
		"listen-port":       func(p *parser, e entry) { p.d.ListenPort = p.Number(e.at, e.key, e.value, 0, math.MaxUint16) },
		"fwmark": func(p *parser, e entry) {
			p.d.FwMark = uint32(p.Number(e.at, e.key, e.value, 0, foreign.Max32))
		},
		"mtu":         func(p *parser, e entry) { p.d.MTU = p.Number(e.at, e.key, e.value, 0, math.MaxUint16) },
		"peer-routes": func(p *parser, e entry) { p.truth(e, func(yes bool) { p.peerRoutes = yes }) },
		"ip4-auto-default-route": func(p *parser, e entry) {
			p.auto[0] = p.Number(e.at, e.key, e.value, -1, 1)
		},
		"ip6-auto-default-route": func(p *parser, e entry) {
			p.auto[1] = p.Number(e.at, e.key, e.value, -1, 1)
		},
	}
})

var peerKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"endpoint": func(p *parser, e entry) {
			p.last().Endpoint, p.last().EndpointAt = p.Endpoint(e.at, e.key, e.value), e.at
		},
		"preshared-key":       func(p *parser, e entry) { p.last().PresharedKey = p.PresharedKey(e.at, e.key, e.value) },
		"preshared-key-flags": func(p *parser, e entry) { p.pskFlags = e; p.Number(e.at, e.key, e.value, 0, 7) },
		"persistent-keepalive": func(p *parser, e entry) {
			p.last().Keepalive = p.Number(e.at, e.key, e.value, 0, math.MaxUint16)
		},
		"allowed-ips": allowedIPs,
	}
})

func (p *parser) last() *foreign.Peer { return &p.d.Peers[len(p.d.Peers)-1] }

// allowedIPs reads a list separated by semicolons. An element with a comma or a blank in it
// is invalid to NetworkManager: it logs that, and the peer goes without it.
func allowedIPs(p *parser, e entry) {
	peer := p.last()
	peer.AllowedIPs, peer.AllowedAt = nil, e.at
	for _, word := range listed(e.value) {
		if strings.ContainsAny(word, ", \t") {
			p.left(e.at, e.key, "NetworkManager passes by what no semicolon separates: the peer has no such allowed IP there")
			continue
		}
		prefix, ok := p.Prefix(e.at, e.key, word)
		if ok && !slices.Contains(peer.AllowedIPs, prefix.Masked()) {
			peer.AllowedIPs = append(peer.AllowedIPs, prefix.Masked())
		}
	}
}

// peerDone checks a peer after its group was read.
func (p *parser) peerDone() {
	if peer := p.last(); peer.PresharedKey.IsZero() && (p.pskFlags.value == "1" || p.pskFlags.value == "2") {
		p.left(p.pskFlags.at, p.pskFlags.key, whereKey(p.pskFlags.value))
	}
}

// whereKey says where a secret is that is not in the file (NMSettingSecretFlags).
func whereKey(flags string) string {
	if flags == "1" {
		return "the key is with the user's keyring, not in the file: nmcli --show-secrets connection show ID has it"
	}
	return "the key is asked for at each start, and not in the file"
}
