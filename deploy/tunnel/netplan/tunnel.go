package netplan

import (
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"sync"

	"go.yaml.in/yaml/v3"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/words"
)

// A parser reads one tunnel.
type parser struct {
	*reader
	d        *foreign.Device
	folder   string
	mode     string
	renderer string // its own; "": the default
	keyed    bool   // it has a key
	keyFile  foreign.Pos
	noRoutes bool // NetworkManager adds none for allowed IPs
}

// A handler reads one key of a mapping. Each mapping has a table of handlers for all keys
// that it may have.
type handler func(p *parser, e field)

// Tables of handlers, by key.
var (
	each     = foreign.Each[handler]
	together = foreign.Together[handler]
)

// ignore handles keys that say nothing about a tunnel.
func ignore(*parser, field) {}

// left handles keys for which a tunnel file has nothing.
func left(why string) handler {
	return func(p *parser, e field) { p.left(e, e.key, why) }
}

// leftIf handles booleans that matter only if they are true.
func leftIf(why string) handler {
	return func(p *parser, e field) {
		if p.truth(e) {
			p.left(e, e.key, why)
		}
	}
}

func (p *parser) left(e field, what, why string) {
	p.d.Left = append(p.d.Left, foreign.Left{Pos: p.pos(e.at), What: what, Why: why})
}

// mapping passes the keys of n to the handlers in known.
func (p *parser) mapping(n *yaml.Node, what string, known map[string]handler) {
	p.handle(p.fields(n, what), what, known)
}

func (p *parser) handle(fields []field, what string, known map[string]handler) {
	for _, e := range fields {
		if h := known[e.key]; h != nil {
			h(p, e)
		} else {
			p.Unknown(p.pos(e.at), what, e.key, slices.Sorted(maps.Keys(known)))
		}
	}
}

// tunnel reads the keys of a tunnel in one file, unless it is of another mode.
func (p *parser) tunnel(t field) {
	fields := p.fields(t.value, t.key)
	for _, e := range fields {
		if e.key == "mode" {
			p.mode = p.text(e.value, e.key)
		}
	}
	if p.mode != "wireguard" && p.mode != "" {
		if !slices.Contains(otherModes, p.mode) {
			p.noMode(fields)
		}
		return
	}
	p.d.Comment = append(p.d.Comment, comments(t.at)...)
	p.d.Comment = append(p.d.Comment, comments(t.value, "peers")...)
	p.handle(fields, "tunnels", tunnelKeys())
}

// otherModes are the modes of tunnels that are not WireGuard's (netplan(5)).
var otherModes = []string{"sit", "gre", "ip6gre", "ipip", "ipip6", "ip6ip6", "vti", "vti6", "vxlan", "isatap", "gretap",
	"ip6gretap"}

// noMode reports a mode that netplan does not have.
func (p *parser) noMode(fields []field) {
	for _, e := range fields {
		if e.key == "mode" {
			why := "netplan has no mode " + foreign.Shown(p.mode) + " of tunnels"
			if near := words.Nearest(p.mode, slices.Values([]string{"wireguard"})); near != "" {
				why += ": did you mean " + near + "?"
			}
			p.Wrong(p.pos(e.value), "", "%s", why)
		}
	}
}

const (
	noNeighbours = "there are no neighbours, routers or DHCP servers in a WireGuard tunnel to ask"
	noOther      = "a route of a tunnel has a destination, a gateway, a table and a metric"
)

// tunnelKeys has what to do with each key of its section. This table and the others are made when
// they are first used: the program is started often, and seldom reads such files.
var tunnelKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"mode": ignore, // read already
		"key":  key, "keys": key,
		"mark": func(p *parser, e field) { p.d.FwMark = uint32(p.number(e, foreign.Max32)) },
		"port": func(p *parser, e field) { p.d.ListenPort = p.number(e, math.MaxUint16) },
		"mtu":  func(p *parser, e field) { p.d.MTU = p.number(e, math.MaxUint16) },
		"peers": func(p *parser, e field) {
			for _, n := range p.items(e.value, e.key) {
				p.d.Peers = append(p.d.Peers, foreign.Peer{Pos: p.pos(n), Comment: comments(n), Beside: beside(n)})
				p.mapping(n, e.key, peerKeys())
				p.peerDone()
			}
		},
		"addresses": addresses,
		"gateway4":  gateway,
		"gateway6":  gateway,
		"nameservers": func(p *parser, e field) {
			p.mapping(e.value, e.key, map[string]handler{"addresses": resolvers, "search": domains})
		},
		"routes": func(p *parser, e field) {
			for _, n := range p.items(e.value, e.key) {
				p.route(n)
			}
		},
		"routing-policy": func(p *parser, e field) {
			for _, n := range p.items(e.value, e.key) {
				p.left(field{at: n}, e.key, "a tunnel file has no rules but those that its routes need")
			}
		},
		"renderer": func(p *parser, e field) { p.renderer = p.text(e.value, e.key) },
		"activation-mode": func(p *parser, e field) {
			switch p.text(e.value, e.key) {
			case "manual":
				p.d.Manual = true
			case "off":
				p.d.Manual = true
				p.left(e, e.key, "whoever sets the interface up has it taken down again there")
			default:
				p.Wrong(p.pos(e.value), "", "activation-mode is neither manual nor off")
			}
		},
		"link-local": func(p *parser, e field) {
			for _, n := range p.items(e.value, e.key) {
				if p.text(n, e.key) != "ipv6" {
					p.left(e, e.key, "a tunnel has the addresses that are written")
				}
			}
		},
		"networkmanager": networkManager,
		"macaddress":     left("a WireGuard interface has none"),
		"ipv6-mtu":       left("the tunnel's mtu is for both families"),
		"openvswitch":    left("a tunnel's interface is in no switch"),
		"neigh-suppress": left("a tunnel's interface is in no bridge"),
	}, each(ignore, "optional", "optional-addresses", "critical", "ignore-carrier", "emit-lldp", "ipv6-privacy",
		"ipv6-address-generation", "ipv6-address-token", "dhcp-identifier", "dhcp4-overrides", "dhcp6-overrides",
		"ra-overrides", "local", "remote", "ttl"), // these are for tunnels of other modes
		each(leftIf(noNeighbours), "dhcp4", "dhcp6", "accept-ra"))
})

// number parses a number.
func (p *parser) number(e field, high int) int {
	return p.Number(p.pos(e.value), e.key, p.text(e.value, e.key), 0, high)
}

// key reads the private key, or the path of its file on the host.
func key(p *parser, e field) {
	if n := e.value; n.Kind != yaml.MappingNode || len(n.Content) > 0 && n.Content[0].Kind != yaml.ScalarNode {
		p.privateKey(e) // a value, or a template, {{ … }}, which only looks like a mapping
		return
	}
	for _, f := range p.fields(e.value, e.key) {
		switch f.key {
		case "private":
			p.privateKey(f)
		case "private-key-flags":
			p.keyFlags(f)
		default:
			p.Unknown(p.pos(f.at), e.key, f.key, keyFields)
		}
	}
}

// keyFields are the keys of a mapping for the private key.
var keyFields = []string{"private", "private-key-flags"}

func (p *parser) privateKey(e field) {
	switch s := p.text(e.value, e.key); {
	case e.value.Kind != yaml.ScalarNode: // reported already
	case isFile(s):
		p.d.PrivateKeyFile, p.keyFile = path.Clean(s), p.pos(e.value)
	default:
		p.d.PrivateKey = p.PrivateKey(p.pos(e.value), e.key, s)
	}
}

// keyFlags reads where NetworkManager has the private key from, if it is not in the file.
func (p *parser) keyFlags(e field) {
	for _, n := range p.items(e.value, e.key) {
		switch flag := p.text(n, e.key); flag {
		case "agent-owned":
			p.left(e, e.key, "the key is with the user's keyring, not in the file")
		case "not-saved":
			p.left(e, e.key, "the key is asked for at each start, and not in the file")
		case "not-required":
		default:
			p.Wrong(p.pos(n), "", "%s: %s is none of agent-owned, not-saved, not-required", e.key, foreign.Shown(flag))
		}
	}
}

// isFile reports whether s is a path and not a key. One key in 64 begins with a slash; 44
// characters that end in "=" are a key (is_wireguard_key of netplan 1.2.2).
func isFile(s string) bool { return path.IsAbs(s) && !keyring.HoldsKey(s) }

var peerKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"keys": func(p *parser, e field) {
			p.mapping(e.value, e.key, map[string]handler{
				"public": func(p *parser, e field) {
					p.last().PublicKey = p.PublicKey(p.pos(e.value), e.key, p.text(e.value, e.key))
				},
				"shared": func(p *parser, e field) {
					switch s := p.text(e.value, e.key); {
					case e.value.Kind != yaml.ScalarNode:
					case isFile(s):
						p.last().PresharedKeyFile = path.Clean(s)
					default:
						p.last().PresharedKey = p.PresharedKey(p.pos(e.value), e.key, s)
					}
				},
			})
		},
		"allowed-ips": func(p *parser, e field) {
			peer := p.last()
			for _, n := range p.items(e.value, e.key) {
				prefix, ok := p.prefix(n, e.key)
				if ok && !slices.Contains(peer.AllowedIPs, prefix.Masked()) {
					peer.AllowedIPs = append(peer.AllowedIPs, prefix.Masked())
				}
			}
		},
		"endpoint": func(p *parser, e field) {
			p.last().Endpoint = p.Endpoint(p.pos(e.value), e.key, p.text(e.value, e.key))
		},
		"keepalive": func(p *parser, e field) { p.last().Keepalive = p.number(e, math.MaxUint16) },
	}
})

func (p *parser) last() *foreign.Peer { return &p.d.Peers[len(p.d.Peers)-1] }

// peerDone checks a peer after its mapping was read. netplan requires both keys.
func (p *parser) peerDone() {
	peer := p.last()
	if peer.PublicKey.IsZero() {
		p.Wrong(peer.Pos, "", "the peer has no public key")
	}
	if len(peer.AllowedIPs) == 0 {
		p.Wrong(peer.Pos, "", "the peer has no allowed-ips, which netplan asks for")
	}
}

// prefix parses an address with its length. netplan refuses one without.
func (p *parser) prefix(n *yaml.Node, what string) (netip.Prefix, bool) {
	s := p.text(n, what)
	if _, err := netip.ParseAddr(s); err == nil {
		p.Wrong(p.pos(n), "", "%s: %s is missing its length, as in %s/32", what, foreign.Shown(s), s)
		return netip.Prefix{}, false
	}
	return p.Prefix(p.pos(n), what, s)
}

// addresses reads a list of addresses, each of which may have options.
func addresses(p *parser, e field) {
	for _, n := range p.items(e.value, e.key) {
		if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
			p.left(field{at: n}, e.key, "an address of a tunnel has no label or lifetime")
			n = n.Content[0]
		}
		if prefix, ok := p.prefix(n, e.key); ok {
			p.d.Addresses = append(p.d.Addresses, foreign.Address{Pos: p.pos(n), Local: prefix})
		}
	}
}

// addr parses an address.
func (p *parser) addr(n *yaml.Node, what string) netip.Addr {
	s := p.text(n, what)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		p.Wrong(p.pos(n), "", "%s: %s is not an address", what, foreign.Shown(s))
		return netip.Addr{}
	}
	return a
}

func resolvers(p *parser, e field) {
	for _, n := range p.items(e.value, e.key) {
		if a := p.addr(n, e.key); a.IsValid() {
			p.d.DNS = append(p.d.DNS, a.String())
		}
	}
}

func domains(p *parser, e field) {
	for _, n := range p.items(e.value, e.key) {
		p.d.DNS = append(p.d.DNS, p.text(n, e.key))
	}
}
