package networkd

import (
	"net/netip"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

// Reasons for which several keys are left out.
const (
	noNeighbours = "there are no neighbours, routers or DHCP servers in a WireGuard tunnel to ask"
	noResolver   = "a tunnel gives resolvers and domains, and leaves the rest to the host's resolver"
	noStacked    = "it is another interface on top of this one, which a tunnel file has nothing of"
)

var networkKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"Description": func(p *parser, e entry) {
			if !p.described {
				p.d.Description = e.value
			}
		},
		"Address": func(p *parser, e entry) {
			if e.value == "" {
				p.addresses = nil
				return
			}
			p.addresses = append(p.addresses, address{at: e.at})
			addressKeys()["Address"](p, e)
		},
		"Gateway": func(p *parser, e entry) {
			p.routes = append(p.routes, route{at: e.at})
			routeKeys()["Gateway"](p, e)
		},
		"DNS": dns, "Domains": domains,
		"DNSDefaultRoute": func(p *parser, e entry) { p.dnsDefault = e },
		"IPForward":       forward(families{true, true}, "ipv4", "ipv6"),
		"IPv4Forwarding":  forward(families{ipv4: true}),
		"IPv6Forwarding":  forward(families{ipv6: true}),
		"IPMasquerade":    masquerade,
		"DHCP":            leftIf(noNeighbours, "none"),
		"IPv6AcceptRA":    leftIf(noNeighbours),
		"LinkLocalAddressing": leftIf("a tunnel has the addresses that are written: add one of fe80::/64 to them",
			"ipv4"),
		"IPv4ReversePathFilter": func(p *parser, e entry) {
			n := map[string]string{"no": "0", "strict": "1", "loose": "2"}[e.value]
			if n == "" {
				p.Wrong(e.at, "", "IPv4ReversePathFilter=: %s is none of no, strict, loose", foreign.Shown(e.value))
				return
			}
			p.sysctl(e.at, "ipv4", "rp_filter", n)
		},
		"IPv4AcceptLocal":   sysctl("ipv4", "accept_local"),
		"IPv4RouteLocalnet": sysctl("ipv4", "route_localnet"),
		"IPv4SrcValidMark":  sysctl("ipv4", "src_valid_mark"),
		"IPv4ProxyARP":      leftIf("there is no ARP in a tunnel"),
		"ProxyARP":          leftIf("there is no ARP in a tunnel"),
		"IPv6MTUBytes":      left("the tunnel's mtu is for both families"),
		"RouteTable":        left("a table of [Network] is for all routes of it: write it at each"),
		"MPLSRouting":       leftIf("a tunnel carries no MPLS"),
	}, each(ignore, "ConfigureWithoutCarrier", "IgnoreCarrierLoss", "KeepConfiguration", "LLDP", "EmitLLDP",
		"IPv4LLStartAddress", "IPv4LLRoute", "IPv6LinkLocalAddressGenerationMode", "IPv6DuplicateAddressDetection",
		"IPv4DuplicateAddressDetectionTimeoutSec", "IPv6StableSecretAddress", "IPv6PrivacyExtensions", "IPv6HopLimit",
		"IPv6RetransmissionTimeSec", "ManageForeignRoutes", "ManageForeignNextHops", "ManageForeignRoutingPolicyRules",
		"MulticastIGMPVersion", "UseDomains", "IPv4ProxyARPPrivateVLAN", "SpeedMeter", "SpeedMeterIntervalSec"),
		each(leftIf(noNeighbours), "DHCPServer", "DHCPRelay", "IPv6SendRA", "DHCPPrefixDelegation", "DHCPv6PrefixDelegation",
			"IPv6PrefixDelegation", "IPv6AcceptRouterAdvertisements", "IPv4LL", "IPv6ProxyNDP"),
		each(left(noNeighbours), "IPv6ProxyNDPAddress", "ProxyNeighbor", "IPv6Token", "BindCarrier"),
		each(leftIf(noResolver), "LLMNR", "MulticastDNS", "DNSSEC", "DNSOverTLS"),
		each(left(noResolver), "DNSSECNegativeTrustAnchors", "NTP"),
		each(left(noStacked), "Bridge", "Bond", "VRF", "VLAN", "VXLAN", "MACVLAN", "MACVTAP", "IPVLAN", "IPVTAP", "MACsec",
			"Tunnel", "Xfrm", "L2TP", "IPoIB", "BatmanAdvanced", "ActiveSlave", "PrimarySlave", "KeepMaster",
			"DefaultRouteOnDevice"),
	)
})

// sysctl handles a boolean that networkd writes to a parameter of the interface.
func sysctl(family, name string) handler {
	return func(p *parser, e entry) {
		yes, ok := p.truth(e)
		if ok && yes {
			p.sysctl(e.at, family, name, "1")
		} else if ok {
			p.sysctl(e.at, family, name, "0")
		}
	}
}

func (p *parser) sysctl(at foreign.Pos, family, name, value string) {
	if p.d.Sysctls == nil {
		p.d.Sysctls = map[string]string{}
	}
	// sysctl(8) writes a dot in an interface's name as a slash.
	key := "net." + family + ".conf." + strings.ReplaceAll(p.d.Name, ".", "/") + "." + name
	p.d.Sysctls[key] = value
	p.d.Mark("sysctls "+key, at)
}

// truth reads a boolean. ok is false for an invalid value, which is reported, and for an
// empty one, which resets the key.
func (p *parser) truth(e entry) (yes, ok bool) {
	yes, ok = truth(e.value)
	if !ok && e.value != "" {
		p.Wrong(e.at, "", "%s=: %s is neither yes nor no", e.key, foreign.Shown(e.value))
	}
	return yes, ok
}

// forward handles a boolean that turns on forwarding for the families f, or a word for each
// family alone.
func forward(f families, words ...string) handler {
	return func(p *parser, e entry) {
		said := f
		for i, word := range words {
			if e.value == word {
				said, e.value = families{i == 0, i == 1}, "yes"
			}
		}
		if e.value == "kernel" {
			return // whatever the host has
		}
		if yes, ok := p.truth(e); ok && yes {
			p.forward.ipv4, p.forward.ipv6 = p.forward.ipv4 || said.ipv4, p.forward.ipv6 || said.ipv6
			p.forwardAt = e.at
		}
	}
}

// masquerade reads IPMasquerade=, where yes means IPv4 only (systemd.network(5)). Packets
// that are forwarded from this interface get the host's address on every outgoing
// interface.
func masquerade(p *parser, e entry) {
	switch e.value {
	case "ipv4":
		p.masq = families{ipv4: true}
	case "ipv6":
		p.masq = families{ipv6: true}
	case "both":
		p.masq = families{true, true}
	default:
		yes, _ := p.truth(e)
		p.masq = families{ipv4: yes}
	}
	p.masqAt = e.at
}

// An address is an [Address], or an Address= of [Network].
type address struct {
	at            foreign.Pos
	local, remote netip.Prefix
}

func (p *parser) address() *address { return &p.addresses[len(p.addresses)-1] }

const noAttributes = "an address of a tunnel has no attributes"

var addressKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"Address": func(p *parser, e entry) {
			prefix, ok := p.Prefix(e.at, "Address=", e.value)
			switch {
			case ok && prefix.Addr().IsUnspecified():
				p.left(e.at, "Address=", "systemd-networkd chooses a free network: write the one that it has (ip address)")
			case ok:
				p.address().local = prefix
			}
		},
		"Peer": func(p *parser, e entry) {
			if prefix, ok := p.Prefix(e.at, "Peer=", e.value); ok {
				p.address().remote = prefix
			}
		},
		"AddPrefixRoute": func(p *parser, e entry) {
			if yes, ok := p.truth(e); ok && !yes {
				p.left(e.at, "AddPrefixRoute=", "the kernel makes a route to the network of an address")
			}
		},
		"DuplicateAddressDetection": ignore, "Scope": left(noAttributes), "Broadcast": ignore,
		"ManageTemporaryAddress": leftIf(noAttributes), "HomeAddress": leftIf(noAttributes), "AutoJoin": leftIf(noAttributes),
	}, each(left(noAttributes), "Label", "PreferredLifetime", "RouteMetric", "NetLabel", "NFTSet", "PrefixRoute"))
})

// A route is a [Route], or a Gateway= of [Network].
type route struct {
	at      foreign.Pos
	dest    netip.Prefix
	gateway netip.Addr // 0.0.0.0 and :: are none, but say which family the route is of
	table   number
	metric  number
	source  foreign.Source
	drop    bool // it does not lead into the tunnel
	ruled   bool // a rule leads to it; apply makes such a rule by itself
	unled   bool // only rules of the other family lead to it: it is left out
	peer    int  // the number, from 1, of the peer whose allowed IP it is; 0: a [Route]
}

func (p *parser) route() *route { return &p.routes[len(p.routes)-1] }

const noOther = "a route of a tunnel has a destination, a gateway, a table and a metric"

var routeKeys = sync.OnceValue(func() map[string]handler {
	return together(map[string]handler{
		"Destination": func(p *parser, e entry) {
			if e.value == "default" {
				return
			}
			if prefix, ok := p.Prefix(e.at, "Destination=", e.value); ok {
				p.route().dest = prefix.Masked()
			}
		},
		"Gateway": func(p *parser, e entry) {
			if addr, err := netip.ParseAddr(e.value); err == nil && addr.Zone() == "" {
				p.route().gateway = addr
				return
			}
			p.Wrong(e.at, "", "Gateway=: %s is not an address", foreign.Shown(e.value))
		},
		"Table":  func(p *parser, e entry) { p.route().table = number{p.tableNumber(e), true} },
		"Metric": func(p *parser, e entry) { p.route().metric = p.maybeNumber(e, foreign.Max32) },
		"Type": func(p *parser, e entry) {
			if e.value != "unicast" && e.value != "" {
				p.route().drop = true
				p.left(e.at, "Type=", "such a route does not lead into the interface")
			}
		},
		"Scope": func(p *parser, e entry) {
			if e.value != "link" && e.value != "global" && e.value != "" {
				p.left(e.at, "Scope=", noOther)
			}
		},
		"PreferredSource": func(p *parser, e entry) {
			r := p.route()
			r.source = foreign.Source{Left: foreign.Left{Pos: e.at, What: "PreferredSource=", Why: noOther}}
			r.source.Addr, _ = netip.ParseAddr(e.value)
		},
		"Protocol": ignore, "GatewayOnLink": ignore, "GatewayOnlink": ignore,
		"IPv6Preference": leftIf(noOther, "medium"),
	}, each(left(noOther), "Source", "NextHop", "MultiPathRoute", "MTUBytes", "HopLimit", "QuickAck",
		"InitialCongestionWindow", "InitialAdvertisedReceiveWindow", "TCPAdvertisedMaximumSegmentSize",
		"TCPCongestionControlAlgorithm", "TCPRetransmissionTimeoutSec", "FastOpenNoCookie", "TTLPropagate"))
})
