package tunnel

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"wgkeys/keyring"
	"wgkeys/keyring/parallel"
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
	"managed":     func(r *reader, h *host, n *node) { h.managed = r.bool(n) },
	"reachable":   func(r *reader, h *host, n *node) { h.reachable = r.bool(n) },
	"endpoint":    func(r *reader, h *host, n *node) { h.endpoint = readEndpoints(r, n) },
	"addresses":   func(r *reader, h *host, n *node) { h.addresses = prefixes(r, n, parseAddress) },
	"routes":      func(r *reader, h *host, n *node) { h.routes = prefixes(r, n, parseRoute) },
	"listen_port": func(r *reader, h *host, n *node) { h.listenPort = r.int(n, 0, max16) },
	"keepalive":   func(r *reader, h *host, n *node) { h.keepalive = r.int(n, 0, max16) },
	"sysctls":     func(r *reader, h *host, n *node) { r.sysctls(h, n, "") },
	"peer":        func(r *reader, h *host, n *node) { r.pairs(h, n) },

	"description": ofRest(func(r *reader, h *rest, n *node) {
		h.description = text(r, n, "a line of text in quotes", checked(checkDescription))
	}),
	"tags": ofRest(func(r *reader, h *rest, n *node) {
		h.tags = texts(r, n, "a word in quotes", checked(checkTag))
	}),
	"ssh": ofRest(func(r *reader, h *rest, n *node) {
		h.ssh = text(r, n, "a destination for ssh in quotes", checked(checkSSH))
	}),
	"forward": ofRest(func(r *reader, h *rest, n *node) { h.forward = r.bool(n) }),
	"mtu":     ofRest(func(r *reader, h *rest, n *node) { h.mtu = r.int(n, minMTU4, max16) }),
	"psk":     ofRest(func(r *reader, h *rest, n *node) { h.psk = r.bool(n) }),
	"gateway": ofRest(func(r *reader, h *rest, n *node) {
		h.gateway = text(r, n, "an INSIDE address in quotes", parseGateway)
	}),
	"masquerade":  ofRest(func(r *reader, h *rest, n *node) { h.masquerade = readMasquerade(r, n) }),
	"isolate":     ofRest(func(r *reader, h *rest, n *node) { h.isolate = r.bool(n) }),
	"boot":        ofRest(func(r *reader, h *rest, n *node) { h.boot = r.bool(n) }),
	"kill_switch": ofRest(func(r *reader, h *rest, n *node) { h.killSwitch = r.bool(n) }),
	"ipv6":        ofRest(func(r *reader, h *rest, n *node) { h.ipv6 = r.bool(n) }),
	"dns": ofRest(func(r *reader, h *rest, n *node) {
		h.dns = texts(r, n, "an address or a domain in quotes", checked(checkDNS))
	}),
	"ndp_proxy":        ofRest(func(r *reader, h *rest, n *node) { h.ndpProxy = r.bool(n) }),
	"fwmark":           ofRest(func(r *reader, h *rest, n *node) { h.fwmark = r.int(n, 0, max32) }),
	"table":            ofRest(func(r *reader, h *rest, n *node) { h.table = r.routingTable(n) }),
	"metric":           ofRest(func(r *reader, h *rest, n *node) { h.metric = r.int(n, 0, max32) }),
	"private_key_file": ofRest(func(r *reader, h *rest, n *node) { h.privateKeyFile = r.keyFile(n) }),
	"peers": ofRest(func(r *reader, h *rest, n *node) {
		h.peers = texts(r, n, "a host's name in quotes", checked(keyring.CheckHost))
	}),
}

// ofRest reads one of the rest of a host's settings.
func ofRest(read func(*reader, *rest, *node)) func(*reader, *host, *node) {
	return func(r *reader, h *host, n *node) { read(r, h.more(), n) }
}

// more returns the rest of the settings of h, to write to.
func (h *host) more() *rest {
	if h.rest == &unsaid {
		h.rest = new(rest)
	}
	return h.rest
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

// fewHosts is how many hosts are worth a goroutine.
const fewHosts = 500

func (r *reader) hosts(t *Tunnel, n *node) {
	if !r.is(n, "a table of hosts", unstable.Table) {
		return
	}
	t.sorted = make([]*host, len(n.vals))
	parts := parallel.Ranges(len(n.vals), fewHosts)
	readers := make([]reader, len(parts))
	parallel.Each(len(parts), func(i int) {
		own, from := &readers[i], parts[i].From
		own.t, own.known = r.t, r.known
		hosts := make([]host, parts[i].To-from) // at once: one by one takes several times as long
		for k := range hosts {
			own.host(&hosts[k], n.vals[from+k])
			t.sorted[from+k] = &hosts[k]
		}
	})
	for i := range readers {
		r.join(&readers[i].problems)
	}
}

// host reads the table of a host into h, unless no host can have its name.
func (r *reader) host(h *host, at *node) {
	if err := keyring.CheckHost(at.name); err != nil {
		r.add(at.pos, "", "no host can be named %s: %v", shown(at.name), err)
		return
	}
	h.pos, h.name, h.rest = at.pos, at.name, &unsaid
	readTable(r, at, h, hostKeys)
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
