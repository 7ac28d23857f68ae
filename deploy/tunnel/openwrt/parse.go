// Package openwrt reads WireGuard interfaces of OpenWrt from /etc/config/network, and
// /etc/config/firewall beside it, both in UCI.
//
// Options mean what netifd and its protocol handler, wireguard.sh in OpenWrt's package
// wireguard-tools, make of them.
package openwrt

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

const tool = "OpenWrt"

// Parse reads files of UCI together. The devices are the interfaces whose protocol is
// wireguard. Other sections count if they are about one of them.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	r := &foreign.Reader{Tool: tool}
	p := &parser{Reader: r, byName: map[string]*builder{}}
	all := sections(r, files)
	for _, s := range all {
		p.device(s)
	}
	for _, s := range all {
		p.section(s)
	}
	p.rules(all)
	p.firewall(all)
	var devices []*foreign.Device
	for _, b := range p.builders {
		b.settle()
		devices = append(devices, b.d)
	}
	if len(devices) == 0 && len(files) > 0 && r.Err() == nil {
		r.Wrong(foreign.Pos{File: files[0].Name, Line: 1}, "", "no interface in it has option proto 'wireguard'")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

type parser struct {
	*foreign.Reader
	builders []*builder
	byName   map[string]*builder
}

// A builder makes one device.
type builder struct {
	*foreign.Reader
	d      *foreign.Device
	s      *section
	tables [2]*option // ip4table, ip6table

	inTables map[string]bool // the tables that its options name

	noDefault bool // defaultroute '0'
}

func (b *builder) left(at foreign.Pos, what, why string) {
	b.d.Left = append(b.d.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// device begins a device if the section is a WireGuard interface.
func (p *parser) device(s *section) {
	if s.kind != "interface" {
		return
	}
	switch s.text("proto") {
	case "wireguard":
	case "amneziawg":
		p.Wrong(s.at, "take it out, on all hosts of the tunnel: the kernel's WireGuard has no such thing",
			"interface %s is AmneziaWG's, which no WireGuard understands", foreign.Shown(s.name))
		return
	default:
		return
	}
	if s.name == "" {
		p.Wrong(s.at, "config interface 'wg0'", "the interface has no name")
		return
	}
	if p.byName[s.name] != nil {
		p.Wrong(s.at, "", "interface %s is in two of the files", foreign.Shown(s.name))
		return
	}
	b := &builder{Reader: p.Reader, s: s, d: &foreign.Device{Pos: s.at, Name: s.name, Comment: s.comments},
		inTables: map[string]bool{}}
	p.byName[s.name] = b
	p.builders = append(p.builders, b)
	for _, o := range s.order {
		b.option(o)
	}
	if s.options["private_key"] == nil {
		b.noKey(s.at)
	}
}

func (b *builder) noKey(at foreign.Pos) {
	b.Wrong(at, "bring the interface up on the router once, which makes the key: ifup "+b.d.Name,
		"the interface has no private key yet")
}

// interfaceKeys are the options of an interface that this package understands.
var interfaceKeys = []string{"proto", "private_key", "listen_port", "mtu", "fwmark", "addresses", "disabled", "auto",
	"metric", "ip4table", "ip6table", "defaultroute", "peerdns", "dns", "dns_search", "dns_metric", "ipv6", "delegate",
	"nohostroute", "tunlink", "ip6prefix", "ip6assign", "ip6hint", "ip6ifaceid", "ip6class", "force_link", "multicast",
	"device", "ifname", "type", "zone", "hostname", "txqueuelen", "ipaddr", "netmask", "gateway", "macaddr", "ip6weight",
	"tags", "multipath", "sourcefilter"}

// setters read the options of an interface that a tunnel file has keys for.
var setters = map[string]func(*builder, *option){
	"private_key":  (*builder).privateKey,
	"listen_port":  func(b *builder, o *option) { b.d.ListenPort = b.number(o, 0, math.MaxUint16) },
	"mtu":          func(b *builder, o *option) { b.d.MTU = b.number(o, 68, math.MaxUint16) },
	"fwmark":       func(b *builder, o *option) { b.d.FwMark = uint32(b.number(o, 0, foreign.Max32)) },
	"metric":       func(b *builder, o *option) { b.d.Metric = b.number(o, 0, math.MaxInt32) },
	"addresses":    (*builder).addresses,
	"dns":          (*builder).dns,
	"dns_search":   (*builder).dns,
	"ip4table":     func(b *builder, o *option) { b.tables[0], b.inTables[o.text()] = o, true },
	"ip6table":     func(b *builder, o *option) { b.tables[1], b.inTables[o.text()] = o, true },
	"auto":         func(b *builder, o *option) { b.d.Manual = b.d.Manual || b.s.off(o.key) },
	"disabled":     (*builder).disabled,
	"ipv6":         func(b *builder, o *option) { b.d.WithoutIPv6 = b.s.off(o.key) },
	"defaultroute": func(b *builder, o *option) { b.noDefault = b.s.off(o.key) },
}

// option reads an option of the interface.
func (b *builder) option(o *option) {
	b.d.Mark(o.key, o.at)
	if set := setters[o.key]; set != nil {
		set(b, o)
		return
	}
	b.other(o)
}

func (b *builder) number(o *option, low, high int) int {
	return b.Number(o.at, o.key, o.text(), low, high)
}

func (b *builder) privateKey(o *option) {
	value := o.text()
	if value == "" || value == "generate" { // ensure_key_is_generated in wireguard.sh
		b.noKey(o.at)
		return
	}
	b.d.PrivateKey = b.PrivateKey(o.at, o.key, value)
}

func (b *builder) addresses(o *option) {
	for _, s := range o.words() {
		if prefix, ok := b.Prefix(o.at, o.key, s); ok {
			b.d.Addresses = append(b.d.Addresses, foreign.Address{Pos: o.at, Local: prefix})
		}
	}
}

func (b *builder) dns(o *option) { b.d.DNS = append(b.d.DNS, o.words()...) }

func (b *builder) disabled(o *option) {
	if b.s.on(o.key) {
		b.d.Manual = true
		b.left(o.at, o.key, "OpenWrt does not have the interface at all; here it is one that is not started at boot")
	}
}

// other reads options that a tunnel file has no keys for.
func (b *builder) other(o *option) {
	switch o.key {
	case "proto", "type", "device", "ifname", "delegate", "force_link", "peerdns", "nohostroute", "zone":
		// The handler makes its own device. Nobody delegates prefixes to it or gives it
		// resolvers. Endpoints are never routed into the tunnel anyway.
	case "ip6assign", "ip6prefix", "ip6hint", "ip6ifaceid", "ip6class":
		b.left(o.at, o.key, "it is prefix delegation of OpenWrt's own: write the addresses out")
	case "tunlink":
		b.left(o.at, o.key, "the encrypted packets leave by the host's own routes")
	case "dns_metric", "multicast", "hostname", "txqueuelen", "ip6weight", "tags", "multipath", "sourcefilter":
		b.left(o.at, o.key, "a tunnel file says nothing of it")
	case "ipaddr", "netmask", "gateway", "broadcast", "macaddr", "ip6addr", "ip6gw":
		b.left(o.at, o.key, "OpenWrt does not look at it with the protocol wireguard")
	default:
		if key, ok := strings.CutPrefix(o.key, "awg_"); ok {
			b.Unknown(o.at, "interface", key, nil)
			return
		}
		b.Unknown(o.at, "interface "+b.d.Name, o.key, interfaceKeys)
	}
}

// section reads what other sections say about the devices.
func (p *parser) section(s *section) {
	if name, ok := strings.CutPrefix(s.kind, "wireguard_"); ok {
		if b := p.byName[name]; b != nil {
			b.peer(s)
		} else {
			p.Wrong(s.at, "", "a peer of interface %s, which is not here", foreign.Shown(name))
		}
		return
	}
	if strings.HasPrefix(s.kind, "amneziawg_") {
		p.Wrong(s.at, "", "a peer of AmneziaWG, which no WireGuard understands")
		return
	}
	if b := p.under(s); b != nil {
		b.above(s)
		return
	}
	if b := p.byName[s.text("name")]; b != nil && s.kind == "device" {
		b.left(s.at, "config device", "the tunnel's device is OpenWrt's own: write its options into the interface")
		return
	}
	if b := p.byName[s.text("interface")]; b != nil && s.kind != "interface" {
		if s.kind == "route" || s.kind == "route6" {
			b.route(s)
		} else {
			b.left(s.at, "config "+s.kind, "a tunnel file says nothing of it")
		}
	}
}

// rules leaves out the rules of policy routing that name a tunnel, or a table with a route into
// it.
func (p *parser) rules(all []*section) {
	for _, s := range all {
		if s.kind != "rule" && s.kind != "rule6" || s.on("disabled") {
			continue
		}
		for _, b := range p.builders {
			if s.text("in") == b.d.Name || s.text("out") == b.d.Name || b.inTables[s.text("lookup")] {
				b.left(s.at, "config "+s.kind, "policy routing: a default route of the tunnel has rules of its own, "+
					"and table names another one")
			}
		}
	}
}

// under returns the device on which an interface of another protocol stands, or nil. netifd
// configures the device of such an interface, so a tunnel's addresses may be there.
func (p *parser) under(s *section) *builder {
	if s.kind != "interface" || s.text("proto") == "wireguard" || s.on("disabled") {
		return nil
	}
	for _, key := range []string{"device", "ifname"} {
		if b := p.byName[strings.TrimPrefix(s.text(key), "@")]; b != nil {
			return b
		}
	}
	return nil
}

// above reads the options of an interface on top of the device.
func (b *builder) above(s *section) {
	if s.text("proto") != "static" {
		b.left(s.at, "config interface", "another protocol on top of the tunnel, which a tunnel file has nothing of")
		return
	}
	for _, o := range s.order {
		switch o.key {
		case "proto", "device", "ifname", "auto", "force_link", "metric", "netmask", "delegate", "defaultroute",
			"disabled":
		case "ipaddr", "ip6addr":
			b.addressesAbove(s, o)
		case "gateway", "ip6gw":
			b.gatewayAbove(s, o)
		case "dns", "dns_search":
			b.dns(o)
		default:
			b.left(o.at, o.key, "a tunnel file says nothing of it")
		}
	}
}

func (b *builder) addressesAbove(s *section, o *option) {
	mask := s.text("netmask")
	for _, w := range o.words() {
		if mask != "" && o.key == "ipaddr" && !strings.Contains(w, "/") {
			w += "/" + strconv.Itoa(maskLength(mask))
		}
		if prefix, ok := b.Prefix(o.at, o.key, w); ok {
			b.d.Addresses = append(b.d.Addresses, foreign.Address{Pos: o.at, Local: prefix})
		}
	}
}

// gatewayAbove adds the default route that netifd makes of a gateway.
func (b *builder) gatewayAbove(s *section, o *option) {
	addr, ok := b.gateway(o)
	if !ok || s.off("defaultroute") {
		return
	}
	r := foreign.Route{Pos: o.at, Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Gateway: addr}
	if o.key == "gateway" {
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if metric := s.options["metric"]; metric != nil {
		r.Metric = b.number(metric, 0, math.MaxInt32)
	}
	b.d.Routes = append(b.d.Routes, r)
}

// gateway reads a next hop. If it is unspecified, netifd makes a route without one (system_rt in
// system-linux.c).
func (b *builder) gateway(o *option) (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(o.text())
	switch {
	case err != nil || addr.Zone() != "":
		b.Wrong(o.at, "", "%s: %s is not an address", o.key, foreign.Shown(o.text()))
		return addr, false
	case addr.IsUnspecified():
		return netip.Addr{}, true
	}
	return addr, true
}

// route reads a static route of netifd.
func (b *builder) route(s *section) {
	if s.on("disabled") {
		return
	}
	r := foreign.Route{Pos: s.at}
	for _, o := range s.order {
		if o.key == "type" && o.text() != "unicast" {
			b.left(s.at, "config "+s.kind, "it leads nowhere: not into the tunnel")
			return
		}
		if o.key == "table" {
			var ok bool
			b.inTables[o.text()] = true
			if r.Table, ok = b.table(o); !ok {
				return
			}
			continue
		}
		b.routeOption(&r, s, o)
	}
	if !r.Prefix.IsValid() {
		b.Wrong(s.at, "option target '10.0.0.0/24'", "the route has no target")
		return
	}
	b.d.Routes = append(b.d.Routes, r)
	if why := r.BesideOthers(); why != "" {
		b.left(s.at, "config "+s.kind, why)
	}
}

const noOther = "a route of the tunnel has only a prefix, gateway, metric and table"

func (b *builder) routeOption(r *foreign.Route, s *section, o *option) {
	switch o.key {
	case "interface", "disabled", "onlink":
	case "type", "netmask": // see route and routeTarget
	case "target":
		r.Prefix = b.routeTarget(s, o)
	case "gateway":
		r.Gateway, _ = b.gateway(o)
	case "metric":
		r.Metric = b.number(o, 0, math.MaxInt32)
	case "source":
		r.Source = foreign.Source{Left: foreign.Left{Pos: o.at, What: o.key, Why: noOther}}
		r.Source.Addr, _ = netip.ParseAddr(o.text())
	default:
		b.left(o.at, o.key, noOther)
	}
}

// routeTarget returns the destination of a route, or the zero Prefix if it is invalid. The
// option netmask gives the length if the target has none.
func (b *builder) routeTarget(s *section, o *option) netip.Prefix {
	target := o.text()
	if mask := s.text("netmask"); mask != "" && !strings.Contains(target, "/") {
		target += "/" + strconv.Itoa(maskLength(mask))
	}
	prefix, ok := b.Prefix(o.at, o.key, target)
	if !ok {
		return netip.Prefix{}
	}
	return prefix.Masked()
}

// maskLength returns the length of an IPv4 mask, or -1.
func maskLength(mask string) int {
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return -1
	}
	a := m.As4()
	for n := range 33 {
		if p, _ := m.Prefix(n); p.Addr() == m && (n == 32 || a[n/8]&(1<<(7-n%8)) == 0) {
			return n
		}
	}
	return -1
}

// tables are the routing tables with a name of their own (system_resolve_rt_table in netifd's
// system-linux.c). The main table is 0 here.
var tables = map[string]int{"main": 0, "254": 0, "default": 253, "local": 255, "prelocal": 128}

// table reads a routing table. A name that only the router's rt_tables has is left out, and ok
// is false: without it the routes would be in the main table, and take all packets.
func (b *builder) table(o *option) (n int, ok bool) {
	name := o.text()
	if n, ok := tables[name]; ok {
		return n, true
	}
	if strings.Trim(name, "0123456789") != "" {
		b.left(o.at, o.key, "only the router knows a table of that name, so what is in it is left out: write the number, which is in "+
			"/etc/iproute2/rt_tables")
		return 0, false
	}
	return b.number(o, 0, foreign.Max32), true
}

// settle decides what depends on the whole file. A tunnel has one table for both families.
func (b *builder) settle() {
	var of [2]int
	known := [2]bool{true, true}
	for i, o := range b.tables {
		if o != nil {
			of[i], known[i] = b.table(o)
		}
	}
	four, six := b.routed()
	switch four, six = four && known[0], six && known[1]; {
	case of[0] == of[1], !six:
		b.d.Table = of[0]
	case !four:
		b.d.Table = of[1]
	default:
		for _, o := range b.tables {
			if o != nil {
				b.left(o.at, o.key, "both families are in one table")
			}
		}
		b.d.Table = max(of[0], of[1])
	}
	b.unroute(func(a netip.Prefix) bool {
		return b.noDefault && a.Bits() == 0 || !known[0] && a.Addr().Is4() || !known[1] && a.Addr().Is6()
	})
}

// routed reports for which families there are routes for allowed IPs.
func (b *builder) routed() (four, six bool) {
	for _, p := range b.d.Peers {
		for _, a := range p.AllowedIPs {
			four = four || p.Routed && a.Addr().Is4()
			six = six || p.Routed && a.Addr().Is6() && !b.d.WithoutIPv6
		}
	}
	return four, six
}

// unroute drops the routes for some of the allowed IPs of the peers. Those for the others
// become routes of the device.
func (b *builder) unroute(which func(netip.Prefix) bool) {
	for i := range b.d.Peers {
		p := &b.d.Peers[i]
		if !p.Routed || !slices.ContainsFunc(p.AllowedIPs, which) {
			continue
		}
		p.Routed = false
		for _, a := range p.AllowedIPs {
			if !which(a) {
				b.d.Routes = append(b.d.Routes, foreign.Route{Pos: p.Pos, Prefix: a, Table: b.d.Table, Metric: b.d.Metric})
			}
		}
	}
}
