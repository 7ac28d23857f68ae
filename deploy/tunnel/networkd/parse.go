// Package networkd reads and writes the files of systemd-networkd: the .netdev with
// WireGuard's keys and peers, the .network with addresses, routes and rules, and the
// drop-ins of both (systemd.netdev(5) and systemd.network(5) of systemd 262).
package networkd

import (
	"math"
	"path"
	"slices"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

const tool = "systemd-networkd"

// most is how many bytes of files are read at most. 10,000 peers are 3 MB.
const most = 64 << 20

// Parse reads the files of one host or, from several directories, of several hosts. Files
// of interfaces other than WireGuard's are ignored.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: tool}
	if !r.Bounded(files, most) {
		return nil, r.Err()
	}
	var devices []*foreign.Device
	for _, h := range hosts(r, files) {
		networks, tables := readNetworks(r, h.others), tableNames(h.confs)
		for _, u := range h.netdevs {
			p := &parser{Reader: r, tables: tables, d: &foreign.Device{Pos: foreign.Pos{File: u.main.Name, Line: 1}}}
			if p.netdev(u) {
				p.network(networks)
				p.conf(h.confs)
				settler{p}.settle()
				devices = append(devices, p.d)
			}
		}
	}
	if len(devices) == 0 && r.Err() == nil && len(files) > 0 {
		r.Wrong(foreign.Pos{File: files[0].Name, Line: 1}, "give its .netdev file too",
			"no .netdev of Kind=wireguard is here")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

// A parser reads one interface.
type parser struct {
	*foreign.Reader
	d       *foreign.Device
	unit    string            // name of the .netdev file
	tables  map[string]string // numbers of tables by name, of networkd.conf
	peers   []peer
	table   number // of [WireGuard]
	prio    number // its RouteMetric
	mtu     bool   // the MTU is that of [Link], which takes precedence
	key     bool   // PrivateKey= or PrivateKeyFile= is there
	matched bool   // a .network is for the interface

	addresses []address
	routes    []route
	rules     []rule
	masqAt    foreign.Pos

	dnsDefault entry // DNSDefaultRoute=
	masq       families
	forwardAt  foreign.Pos
	forward    families
	described  bool // [NetDev] has a description
	chosen     bool // FwMark equals the table of a rule: it was chosen for that, and need not be kept
}

// A number is an optional number.
type number struct {
	val   int
	given bool
}

// families is a set of address families.
type families struct{ ipv4, ipv6 bool }

func (f families) have(ipv4 bool) bool { return ipv4 && f.ipv4 || !ipv4 && f.ipv6 }

// A peer is a [WireGuardPeer], with the table and metric of its routes.
type peer struct {
	foreign.Peer
	table  number // val 0: no routes
	metric number
}

// A handler reads one line. Each section has a table of handlers for all keys that it may
// have.
type handler func(p *parser, e entry)

// Tables of handlers, by key.
var (
	each     = foreign.Each[handler]
	together = foreign.Together[handler]
)

// ignore handles keys that say nothing about a tunnel: how networkd waits, what it does
// when it stops, or what a WireGuard interface never has.
func ignore(*parser, entry) {}

// left handles keys for which a tunnel file has nothing.
func left(why string) handler {
	return func(p *parser, e entry) { p.left(e.at, e.key+"=", why) }
}

// leftIf handles booleans that matter only if they are true. Harmless are further values
// that do not matter.
func leftIf(why string, harmless ...string) handler {
	return func(p *parser, e entry) {
		if yes, ok := truth(e.value); ok && !yes || e.value == "" || slices.Contains(harmless, strings.ToLower(e.value)) {
			return
		}
		p.left(e.at, e.key+"=", why)
	}
}

func (p *parser) left(at foreign.Pos, what, why string) {
	p.d.Left = append(p.d.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// section passes the lines of s to the handlers in known.
func (p *parser) section(s section, known map[string]handler) {
	for _, e := range s.entries {
		if h := known[e.key]; h != nil {
			p.d.Mark(e.key, e.at)
			h(p, e)
		} else if !strings.HasPrefix(e.key, "X-") { // X- is for other programs (systemd.syntax(7))
			p.Unknown(e.at, s.name, e.key, keysOf(known))
		}
	}
}

func keysOf(known map[string]handler) []string {
	var keys []string
	for k := range known {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// netdev reads u. It reports false if u is not a WireGuard interface or has no name.
func (p *parser) netdev(u *unit) bool {
	sections := u.sections(p.Reader)
	if !slices.ContainsFunc(sections, isWireGuard) {
		return false
	}
	p.unit = u.name
	for _, s := range sections {
		p.netdevSection(s)
	}
	if p.d.Name == "" {
		p.Wrong(p.d.Pos, "", "[NetDev] has no Name=")
		return false
	}
	if !p.key {
		name := strings.TrimSuffix(p.unit, path.Ext(p.unit))
		p.left(p.d.Pos, "PrivateKey=", "the key is in no file: systemd-networkd asks for the credential "+
			"network.wireguard.private."+name)
	}
	return true
}

// isWireGuard reports whether s is a [NetDev] with Kind=wireguard.
func isWireGuard(s section) bool {
	return s.name == "NetDev" && slices.ContainsFunc(s.entries, func(e entry) bool {
		return e.key == "Kind" && e.value == "wireguard"
	})
}

func (p *parser) netdevSection(s section) {
	switch {
	case s.name == "NetDev":
		p.d.Comment = append(p.d.Comment, s.comments...)
		p.section(s, netdevKeys())
	case s.name == "WireGuard":
		p.d.Comment = append(p.d.Comment, s.comments...)
		p.section(s, wireguardKeys())
	case s.name == "WireGuardPeer":
		p.peers = append(p.peers, peer{Peer: foreign.Peer{Pos: s.at, Comment: s.comments, Beside: s.beside}})
		p.section(s, peerKeys())
		p.peerDone(s)
	case s.name == "Match":
		p.section(s, hostKeys)
	case !strings.HasPrefix(s.name, "X-"):
		p.Wrong(s.at, "", "a .netdev of WireGuard has no section %s: only [Match], [NetDev], [WireGuard], [WireGuardPeer]",
			foreign.Shown("["+s.name+"]"))
	}
}

// netdevKeys has what to do with each key of its section. This table and the others are made when
// they are first used: the program is started often, and seldom reads such files.
var netdevKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"Name": func(p *parser, e entry) {
			if strings.ContainsAny(e.value, "%") {
				p.Wrong(e.at, "write the name out", "Name=: a name with %% is made by systemd at run time")
				return
			}
			p.d.Name = e.value
		},
		"Kind":        ignore,
		"Description": func(p *parser, e entry) { p.d.Description, p.described = e.value, e.value != "" },
		"MTUBytes": func(p *parser, e entry) {
			if !p.mtu {
				p.d.MTU = p.bytes(e)
			}
		},
		"MACAddress": left("a WireGuard interface has none"),
	}
})

// bytes reads a size as systemd's parse_size does: K, M and G are powers of 1024.
func (p *parser) bytes(e entry) int {
	value, factor := e.value, 1
	for i, suffix := range []string{"K", "M", "G"} {
		if s, ok := strings.CutSuffix(value, suffix); ok {
			value, factor = s, 1<<(10*(i+1))
			break
		}
	}
	if e.value == "" {
		return 0
	}
	n := p.Number(e.at, e.key+"=", value, 1, math.MaxUint16)
	if n*factor > math.MaxUint16 {
		p.Wrong(e.at, "", "%s= is above 65535", e.key)
		return 0
	}
	return n * factor
}

// hostKeys are the conditions on the host in [Match] of a .netdev. They cannot be checked
// here.
var hostKeys = onHosts(map[string]handler{})

func onHosts(known map[string]handler) map[string]handler {
	for _, key := range []string{"Host", "Virtualization", "KernelCommandLine", "KernelVersion", "Version", "Credential",
		"Architecture", "Firmware", "MachineTag"} {
		known[key] = left("whether this is such a host is not asked: the file is taken as one for it")
	}
	return known
}
