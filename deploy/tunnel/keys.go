package tunnel

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring"
)

// The limits of values.
const (
	// minMTU is the minimum for IPv6 (RFC 8200, section 5), and minMTU4 the minimum that
	// every IPv4 host supports (RFC 791, section 3.1).
	minMTU, minMTU4 = 1280, 576

	max16 = math.MaxUint16

	// max32 is the maximum of a 32-bit number: that of an int, if that is less (on 32-bit
	// processors).
	max32 = math.MaxUint32 & math.MaxInt
)

// tunnelKeys are the keys at the top of a tunnel file.
var tunnelKeys = keys[Tunnel]{
	"listen_port": func(r *reader, t *Tunnel, n *node) { t.listenPort = r.int(n, 0, max16) },
	"mtu":         func(r *reader, t *Tunnel, n *node) { t.mtu = r.int(n, minMTU4, max16) },
	"keepalive":   func(r *reader, t *Tunnel, n *node) { t.keepalive = r.int(n, 0, max16) },
	"psk":         func(r *reader, t *Tunnel, n *node) { t.psk = r.bool(n) },
	"hosts":       func(r *reader, t *Tunnel, n *node) { r.hosts(t, n) },
}

// hostKeys are the keys of [hosts.NAME].
var hostKeys = keys[host]{
	"managed":   func(r *reader, h *host, n *node) { h.managed = r.bool(n) },
	"reachable": func(r *reader, h *host, n *node) { h.reachable = r.bool(n) },
	"description": func(r *reader, h *host, n *node) {
		h.description = text(r, n, "a line of text in quotes", checked(checkDescription))
	},
	"tags": func(r *reader, h *host, n *node) {
		h.tags = texts(r, n, "a word in quotes", checked(checkTag))
	},
	"ssh": func(r *reader, h *host, n *node) {
		h.ssh = text(r, n, "a destination for ssh in quotes", checked(checkSSH))
	},
	"endpoint": func(r *reader, h *host, n *node) {
		h.endpoint = readEndpoints(r, n)
	},
	"addresses":   func(r *reader, h *host, n *node) { h.addresses = prefixes(r, n, parseAddress) },
	"routes":      func(r *reader, h *host, n *node) { h.routes = prefixes(r, n, parseRoute) },
	"forward":     func(r *reader, h *host, n *node) { h.forward = r.bool(n) },
	"listen_port": func(r *reader, h *host, n *node) { h.listenPort = r.int(n, 0, max16) },
	"mtu":         func(r *reader, h *host, n *node) { h.mtu = r.int(n, minMTU4, max16) },
	"keepalive":   func(r *reader, h *host, n *node) { h.keepalive = r.int(n, 0, max16) },
	"psk":         func(r *reader, h *host, n *node) { h.psk = r.bool(n) },
	"gateway": func(r *reader, h *host, n *node) {
		h.gateway = text(r, n, "an INSIDE address in quotes", parseGateway)
	},
	"masquerade":  func(r *reader, h *host, n *node) { h.masquerade = readMasquerade(r, n) },
	"isolate":     func(r *reader, h *host, n *node) { h.isolate = r.bool(n) },
	"boot":        func(r *reader, h *host, n *node) { h.boot = r.bool(n) },
	"kill_switch": func(r *reader, h *host, n *node) { h.killSwitch = r.bool(n) },
	"ipv6":        func(r *reader, h *host, n *node) { h.ipv6 = r.bool(n) },
	"dns": func(r *reader, h *host, n *node) {
		h.dns = texts(r, n, "an address or a domain in quotes", checked(checkDNS))
	},
	"ndp_proxy":        func(r *reader, h *host, n *node) { h.ndpProxy = r.bool(n) },
	"sysctls":          func(r *reader, h *host, n *node) { r.sysctls(h, n, "") },
	"fwmark":           func(r *reader, h *host, n *node) { h.fwmark = r.int(n, 0, max32) },
	"table":            func(r *reader, h *host, n *node) { h.table = r.routingTable(n) },
	"metric":           func(r *reader, h *host, n *node) { h.metric = r.int(n, 0, max32) },
	"private_key_file": func(r *reader, h *host, n *node) { h.privateKeyFile = r.keyFile(n) },
	"peers": func(r *reader, h *host, n *node) {
		h.peers = texts(r, n, "a host's name in quotes", checked(keyring.CheckHost))
	},
	"peer": func(r *reader, h *host, n *node) { r.pairs(h, n) },
}

// pairKeys are the keys of [hosts.NAME.peer.OTHER].
var pairKeys = keys[pair]{
	"allowed_ips": func(r *reader, p *pair, n *node) { p.allowedIPs = prefixes(r, n, parseRoute) },
	"routes":      func(r *reader, p *pair, n *node) { p.routes = prefixes(r, n, parseRoute) },
	"endpoint": func(r *reader, p *pair, n *node) {
		p.endpoint = readEndpoints(r, n)
	},
	"keepalive": func(r *reader, p *pair, n *node) { p.keepalive = r.int(n, 0, max16) },
	"psk":       func(r *reader, p *pair, n *node) { p.psk = r.bool(n) },
	"psk_file": func(r *reader, p *pair, n *node) {
		p.pskFile = text(r, n, "a path in quotes", checked(checkPSKFile))
	},
}

// Keys are the names of all keys of a tunnel file, sorted: at its top, under [hosts.NAME],
// and under [hosts.NAME.peer.OTHER].
func Keys() (top, host, pair []string) {
	return slices.Sorted(maps.Keys(tunnelKeys)), slices.Sorted(maps.Keys(hostKeys)), slices.Sorted(maps.Keys(pairKeys))
}

func (r *reader) hosts(t *Tunnel, n *node) {
	if !r.is(n, "a table of hosts", unstable.Table) {
		return
	}
	t.hosts, t.sorted = make(map[string]*host, len(n.vals)), make([]*host, 0, len(n.vals))
	all := make([]host, len(n.vals)) // at once: one by one takes several times as long
	for i, at := range n.vals {
		if err := keyring.CheckHost(at.name); err != nil {
			r.add(at.pos, "", "no host can be named %s: %v", shown(at.name), err)
			continue
		}
		h := &all[i]
		h.pos, h.name = at.pos, at.name
		readTable(r, at, h, hostKeys)
		t.hosts[h.name], t.sorted = h, append(t.sorted, h)
	}
}

func (r *reader) pairs(h *host, n *node) {
	if !r.is(n, "a table of peers", unstable.Table) {
		return
	}
	for _, at := range n.vals {
		p := &pair{pos: at.pos}
		readTable(r, at, p, pairKeys)
		if h.pairs == nil {
			h.pairs = map[string]*pair{}
		}
		h.pairs[at.name] = p
	}
}

// intoTunnel means masquerading into the tunnel, in a list of interfaces. An interface of
// that name cannot be listed; no kernel or manager gives that name.
const intoTunnel = "tunnel"

// readMasquerade reads true, "tunnel", or a list of interfaces, which may contain "tunnel".
func readMasquerade(r *reader, n *node) value[masquerade] {
	const want = `true, false, "tunnel" or a list of uplinks' names`
	v := value[masquerade]{pos: n.pos}
	switch {
	case n.kind == unstable.Bool:
		v.val.peers = n.text == "true"
	case n.kind == unstable.String && n.text == intoTunnel:
		v.val.tunnel = true
	case n.kind == unstable.String:
		r.add(n.pos, fmt.Sprintf("masquerade = [%s]", shown(n.text)), "%s: found %s, want %s", n.path(), describe(n), want)
	case r.is(n, want, unstable.Array):
		list := texts(r, n, "an interface's name in quotes", checked(checkUplink))
		for _, name := range list.vals {
			if name.val == intoTunnel {
				v.val.tunnel = true
			} else {
				v.val.peers, v.val.by = true, append(v.val.by, name.val)
			}
		}
		slices.Sort(v.val.by)
		if len(n.vals) == 0 {
			r.add(n.pos, "write false, or leave masquerade out", "%s: the list is empty", n.path())
		}
	}
	return v
}

// readEndpoints reads one endpoint, or a list of them in the order in which they are tried.
func readEndpoints(r *reader, n *node) value[endpoints] {
	const want = "an OUTSIDE address or name in quotes"
	if n.kind != unstable.Array {
		if e := text(r, n, want, parseEndpoint); e.given() {
			return value[endpoints]{endpoints{e.val}, n.pos}
		}
		return value[endpoints]{}
	}
	list := texts(r, n, want, parseEndpoint)
	all := value[endpoints]{pos: n.pos}
	for _, e := range list.vals {
		all.val = append(all.val, e.val)
	}
	if len(n.vals) == 0 {
		r.add(n.pos, "leave endpoint out where the host comes to its peers", "%s: the list is empty", n.path())
	}
	return all
}
