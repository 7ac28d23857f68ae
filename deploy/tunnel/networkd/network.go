package networkd

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel/foreign"
)

// A network is a .network file with its drop-ins.
type network struct {
	at       foreign.Pos
	sections []section
}

func readNetworks(r *foreign.Reader, units []*unit) []network {
	var all []network
	for _, u := range units {
		all = append(all, network{foreign.Pos{File: u.main.Name, Line: 1}, u.sections(r)})
	}
	return all
}

// matches reports whether n applies to the WireGuard interface of this name: all keys of
// [Match] have to match, and there has to be one. Conditions on the host are taken to hold.
func (n network) matches(name string) bool {
	asked := false
	for key, patterns := range n.match() {
		asked = true
		switch key {
		case "Name":
			asked = matchesOne(patterns, name)
		case "Type", "Kind", "Driver":
			asked = matchesOne(patterns, "wireguard")
		case "MACAddress", "PermanentMACAddress", "Path", "Property", "WLANInterfaceType", "SSID", "BSSID":
			asked = false // a WireGuard interface has none of these
		}
		if !asked {
			return false
		}
	}
	return asked
}

// match returns the patterns of [Match] by key. An empty value removes those before it.
func (n network) match() map[string][]string {
	all := map[string][]string{}
	for _, s := range n.sections {
		if s.name != "Match" {
			continue
		}
		for _, e := range s.entries {
			if all[e.key] = append(all[e.key], strings.Fields(e.value)...); e.value == "" {
				delete(all, e.key)
			}
		}
	}
	return all
}

// matchesOne matches name against a list of patterns as systemd's net_match_config does: a
// "!" before the first pattern negates the whole list.
func matchesOne(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return false
	}
	first, not := strings.CutPrefix(patterns[0], "!")
	for i, pattern := range patterns {
		if i == 0 {
			pattern = first
		}
		pattern = strings.ReplaceAll(pattern, "[!", "[^") // fnmatch(3) has "!" for what path.Match has as "^"
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return !not
		}
	}
	return not
}

// network reads the first file that matches the interface, as networkd does.
func (p *parser) network(all []network) {
	i := slices.IndexFunc(all, func(n network) bool { return n.matches(p.d.Name) })
	if i < 0 {
		return
	}
	p.matched = true
	for _, s := range all[i].sections {
		p.d.Comment = append(p.d.Comment, s.comments...)
		switch s.name {
		case "Match":
			p.section(s, matchKeys)
		case "Link":
			p.section(s, linkKeys())
		case "Network":
			p.section(s, networkKeys())
		case "Address":
			p.addresses = append(p.addresses, address{at: s.at})
			p.section(s, addressKeys())
		case "Route":
			p.routes = append(p.routes, route{at: s.at})
			p.section(s, routeKeys())
		case "RoutingPolicyRule":
			p.rules = append(p.rules, rule{at: s.at})
			p.section(s, ruleKeys())
		default:
			p.otherSection(s)
		}
	}
}

// conf reads from networkd.conf whether all interfaces forward. Its other settings are
// about the host and not about a tunnel.
func (p *parser) conf(files []foreign.File) {
	for _, f := range files {
		for _, s := range lex(p.Reader, f) {
			for _, e := range s.entries {
				if h := networkKeys()[e.key]; s.name == "Network" && strings.HasSuffix(e.key, "Forwarding") && h != nil {
					h(p, e)
				}
			}
		}
	}
}

// tableNames returns the numbers of the routing tables that networkd.conf names, as
// RouteTable=NAME:NUMBER.
func tableNames(confs []foreign.File) map[string]string {
	names := map[string]string{}
	for _, f := range confs {
		for _, s := range lex(&foreign.Reader{}, f) { // errors in it are those of conf
			for _, e := range s.entries {
				for _, word := range strings.Fields(e.value) {
					if name, number, ok := strings.Cut(word, ":"); ok && s.name == "Network" && e.key == "RouteTable" {
						names[name] = number
					}
				}
			}
		}
	}
	return names
}

// otherSections are the other sections that a .network may have (systemd.network(5)).
var otherSections = []string{"SR-IOV", "IPv6AddressLabel", "NextHop", "Neighbor", "DHCPv4", "DHCPv6",
	"DHCPPrefixDelegation", "DHCPv6PrefixDelegation", "IPv6AcceptRA", "DHCPServer", "DHCPServerStaticLease", "DHCPRelay",
	"IPv6SendRA", "IPv6Prefix", "IPv6RoutePrefix", "IPv6PREF64Prefix", "IPv6PrefixDelegation", "Bridge", "BridgeFDB",
	"BridgeMDB", "BridgeVLAN", "LLDP", "CAN", "IPoIB", "ModemManager", "MobileNetwork",
	"QDisc", "NetworkEmulator", "TokenBucketFilter", "PIE", "FlowQueuePIE", "StochasticFairBlue",
	"StochasticFairnessQueueing", "BFIFO", "PFIFO", "PFIFOHeadDrop", "PFIFOFast", "CAKE", "ControlledDelay",
	"DeficitRoundRobinScheduler", "DeficitRoundRobinSchedulerClass", "EnhancedTransmissionSelection",
	"GenericRandomEarlyDetection", "FairQueueingControlledDelay", "FairQueueing", "TrivialLinkEqualizer",
	"HierarchyTokenBucket", "HierarchyTokenBucketClass", "ClassfulMultiQueueing", "BandMultiQueueing", "HeavyHitterFilter",
	"QuickFairQueueing", "QuickFairQueueingClass"}

func (p *parser) otherSection(s section) {
	switch {
	case slices.Contains(otherSections, s.name):
		p.left(s.at, "["+s.name+"]", "a tunnel file has nothing like it")
	case !strings.HasPrefix(s.name, "X-"):
		p.Wrong(s.at, "", "systemd-networkd knows no section %s", foreign.Shown("["+s.name+"]"))
	}
}

var matchKeys = onHosts(map[string]handler{
	"Name": ignore, "Type": ignore, "Kind": ignore, "Driver": ignore, "MACAddress": ignore, "PermanentMACAddress": ignore,
	"Path": ignore, "Property": ignore, "WLANInterfaceType": ignore, "SSID": ignore, "BSSID": ignore,
	"OriginalName": ignore,
})

var linkKeys = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"MTUBytes": func(p *parser, e entry) { p.d.MTU, p.mtu = p.bytes(e), true },
		"ActivationPolicy": func(p *parser, e entry) {
			switch e.value {
			case "", "up":
			case "manual", "down":
				p.d.Manual = true
			case "always-down":
				p.d.Manual = true
				p.left(e.at, "ActivationPolicy=", "whoever sets the interface up has it taken down again there")
			case "always-up", "bound":
				p.left(e.at, "ActivationPolicy=", "an interface that somebody sets down stays so")
			default:
				p.Wrong(e.at, "", "ActivationPolicy=: %s is none of up, always-up, manual, always-down, down, bound",
					foreign.Shown(e.value))
			}
		},
		"Unmanaged":         leftIf("systemd-networkd then does nothing of this file"),
		"RequiredForOnline": ignore, "RequiredFamilyForOnline": ignore, "ARP": ignore, "Multicast": ignore,
		"AllMulticast": ignore, "Promiscuous": ignore,
		"MACAddress": left("a WireGuard interface has none"),
		"Group":      left("a tunnel's interface is in group 0"),
	}
})

// dns reads resolvers. A port, an interface or a name for TLS is left out.
func dns(p *parser, e entry) {
	if e.value == "" {
		p.d.DNS = slices.DeleteFunc(p.d.DNS, isAddress)
	}
	for _, word := range strings.Fields(e.value) {
		bare := word
		if i := strings.IndexAny(bare, "%#"); i >= 0 {
			bare = bare[:i]
		}
		if a, err := netip.ParseAddrPort(bare); err == nil {
			bare = a.Addr().String()
		}
		a, err := netip.ParseAddr(bare)
		if err != nil {
			p.Wrong(e.at, "", "DNS=: %s is not an address", foreign.Shown(word))
			continue
		}
		if a.String() != word && bare != word {
			p.left(e.at, "DNS=", "a resolver has an address, and no port, interface or name for TLS")
		}
		p.d.DNS = append(p.d.DNS, a.String())
	}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func domains(p *parser, e entry) {
	if e.value == "" {
		p.d.DNS = slices.DeleteFunc(p.d.DNS, func(s string) bool { return !isAddress(s) })
	}
	p.d.DNS = append(p.d.DNS, strings.Fields(e.value)...)
}
