package networkd

import (
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"wgkeys/deploy/tunnel/foreign"

	"wgkeys/keyring"
)

var wireguardKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"PrivateKey": func(p *parser, e entry) {
			p.key = e.value != ""
			switch {
			case e.value == "":
				p.d.PrivateKey = keyring.PrivateKey{}
			case p.credential(e):
			default:
				p.d.PrivateKey = p.PrivateKey(e.at, "PrivateKey=", e.value)
			}
		},
		"PrivateKeyFile": func(p *parser, e entry) {
			p.d.PrivateKeyFile = p.path(e)
			p.key = p.key || e.value != ""
		},
		"ListenPort": func(p *parser, e entry) {
			p.d.ListenPort = 0
			if e.value != "" && e.value != "auto" {
				p.d.ListenPort = p.Number(e.at, "ListenPort=", e.value, 1, math.MaxUint16)
			}
		},
		"FirewallMark": firewallMark,
		"FwMark":       firewallMark, // before systemd 243
		"RouteTable":   func(p *parser, e entry) { p.table = p.routeTable(e) },
		"RouteMetric":  func(p *parser, e entry) { p.prio = p.maybeNumber(e, foreign.Max32) },
		// In systemd's tree before version 250, but in no release: networkd warns about
		// the key and ignores it.
		"ResolveIntervalSec": resolveInterval,
	}
})

func firewallMark(p *parser, e entry) {
	p.d.FwMark = 0
	if e.value != "" {
		p.d.FwMark = uint32(p.Number(e.at, e.key+"=", e.value, 1, foreign.Max32))
	}
}

var resolveInterval = left("no systemd that was released knows it; names of endpoints are looked up again anyway")

var peerKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"PublicKey": func(p *parser, e entry) {
			if !p.credential(e) {
				p.last().PublicKey = p.PublicKey(e.at, "PublicKey=", e.value)
			}
		},
		"PublicKeyFile": func(p *parser, e entry) { // systemd 258 and later
			p.last().PublicKeyFile, p.last().KeyAt = p.path(e), e.at
		},
		"PresharedKey": func(p *parser, e entry) {
			switch {
			case e.value == "":
				p.last().PresharedKey = keyring.PresharedKey{}
			case p.credential(e):
			default:
				p.last().PresharedKey = p.PresharedKey(e.at, "PresharedKey=", e.value)
			}
		},
		"PresharedKeyFile": func(p *parser, e entry) { p.last().PresharedKeyFile = p.path(e) },
		"AllowedIPs":       allowedIPs,
		"Endpoint":         endpoint,
		"PersistentKeepalive": func(p *parser, e entry) {
			p.last().Keepalive = 0
			if e.value != "off" && e.value != "" {
				p.last().Keepalive = p.Number(e.at, "PersistentKeepalive=", e.value, 0, math.MaxUint16)
			}
		},
		"RouteTable":         func(p *parser, e entry) { p.last().table = p.routeTable(e) },
		"RouteMetric":        func(p *parser, e entry) { p.last().metric = p.maybeNumber(e, foreign.Max32) },
		"ResolveIntervalSec": resolveInterval,
	}
})

func (p *parser) last() *peer { return &p.peers[len(p.peers)-1] }

// credential reports whether the value names a service credential instead of being the
// value, and records that it cannot be read.
func (p *parser) credential(e entry) bool {
	if !strings.HasPrefix(e.value, "@") {
		return false
	}
	switch e.key {
	case "PublicKey":
		p.Wrong(e.at, "write the value itself", "%s= is in a credential of systemd-networkd", e.key)
		return true
	case "Endpoint":
		p.left(e.at, e.key+"=", "it is a credential of systemd-networkd, not in this file: write the value itself")
		return true
	}
	p.left(e.at, e.key+"=", "it is a credential of systemd-networkd, not in this file: seal it into the vault by hand")
	return true
}

// path reads an absolute path on the host.
func (p *parser) path(e entry) string {
	switch {
	case e.value == "":
		return ""
	case !path.IsAbs(e.value):
		p.Wrong(e.at, "", "%s= is not an absolute path", e.key)
		return ""
	}
	return path.Clean(e.value)
}

// allowedIPs reads a list separated by commas or blanks. It is added to earlier lists; an
// empty one removes them.
func allowedIPs(p *parser, e entry) {
	peer := p.last()
	peer.AllowedAt = e.at
	if e.value == "" {
		peer.AllowedIPs = nil
	}
	for _, word := range listed(e.value) {
		prefix, ok := p.Prefix(e.at, "AllowedIPs=", word)
		if ok && !slices.Contains(peer.AllowedIPs, prefix.Masked()) {
			peer.AllowedIPs = append(peer.AllowedIPs, prefix.Masked())
		}
	}
}

func listed(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// endpoint reads an address or a name, with a port. networkd ignores an IPv6 address
// without brackets, which wg(8) accepts.
func endpoint(p *parser, e entry) {
	if p.credential(e) {
		return
	}
	if i := strings.LastIndexByte(e.value, ':'); i >= 0 && strings.Contains(e.value[:i], ":") && e.value[0] != '[' {
		p.Wrong(e.at, "", "Endpoint=: an IPv6 address is in brackets, as in [2001:db8::1]:51820")
		return
	}
	p.last().Endpoint, p.last().EndpointAt = "", e.at
	if e.value != "" { // an empty value removes an earlier one
		p.last().Endpoint = p.Endpoint(e.at, "Endpoint=", e.value)
	}
}

// routeTable reads RouteTable=, a table or "off".
func (p *parser) routeTable(e entry) number {
	if e.value == "" {
		return number{}
	}
	if yes, ok := truth(e.value); ok && !yes {
		return number{given: true}
	}
	return number{p.tableNumber(e), true}
}

// mainTable is RT_TABLE_MAIN (rtnetlink(7)).
const mainTable = 254

// tableNumber reads a routing table, as a number or a name that networkd has built in.
func (p *parser) tableNumber(e entry) int {
	switch e.value {
	case "main":
		return mainTable
	case "default":
		return 253
	case "local":
		return 255
	}
	if number := p.tables[e.value]; number != "" {
		e.value = number
	}
	if strings.Trim(e.value, "0123456789xabcdefABCDEF") != "" {
		p.Wrong(e.at, "give networkd.conf too, or write the number, which is there as RouteTable=",
			"%s=: the table has a name of its own", e.key)
		return 0
	}
	return p.Number(e.at, e.key+"=", e.value, 1, foreign.Max32)
}

func (p *parser) maybeNumber(e entry, high int) number {
	if e.value == "" {
		return number{}
	}
	return number{p.Number(e.at, e.key+"=", e.value, 0, high), true}
}

// peerDone checks a peer after its section was read.
func (p *parser) peerDone(s section) {
	peer := p.last()
	said := func(e entry) bool { return strings.HasPrefix(e.key, "PublicKey") }
	if !peer.PublicKey.IsZero() || slices.ContainsFunc(s.entries, said) {
		return
	}
	p.Wrong(s.at, "", "[WireGuardPeer] has no PublicKey=: systemd-networkd passes such a peer by")
}

// merge keeps, of two peers with one key and of two with one prefix, the first. networkd
// configures its peers in reverse order (LIST_PREPEND in wireguard_peer_new_static), and in
// the kernel the last one wins.
func (p settler) merge() {
	byKey := map[keyring.PublicKey]bool{}
	owned := map[netip.Prefix]bool{}
	p.peers = slices.DeleteFunc(p.peers, func(q peer) bool {
		again := byKey[q.PublicKey] && !q.PublicKey.IsZero()
		if again {
			p.left(q.Pos, "[WireGuardPeer]", "an earlier one has the same key, and counts")
		}
		byKey[q.PublicKey] = true
		return again
	})
	for i := range p.peers {
		q := &p.peers[i]
		q.AllowedIPs = slices.DeleteFunc(q.AllowedIPs, func(prefix netip.Prefix) bool {
			again := owned[prefix]
			if again {
				p.left(q.Pos, "AllowedIPs=", prefix.String()+" is an earlier peer's: the kernel gives a prefix to one")
			}
			owned[prefix] = true
			return again
		})
	}
}
