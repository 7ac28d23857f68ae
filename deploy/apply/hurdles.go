package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// Hurdles are what a host has in the way of a plan: where a step would fail, the
// plan says so before the first is taken.
type Hurdles struct {
	NoRight   bool              // root may not change the network here
	NoTunnels string            // why no tunnel's interface can be made; "": one can
	NoIPv6    string            // why the link can have no IPv6; "": it can
	PortOwner string            // who has the port that the device is to have; "": it is not known
	Fixed     map[string]string // kernel parameters that cannot be set, and why
	Routes    []OtherRoute      // through other interfaces
	Addresses []OtherAddress    // on other interfaces
	Digest    uint64            // of all such routes, whether the view has to do with them or not
}

// An OtherRoute is one of another interface to a prefix of the view's, or to a part
// of one.
type OtherRoute struct {
	Route
	Link   string // "" where it leads nowhere: blackhole and the like
	Tunnel bool   // the link is a WireGuard interface
	Origin Origin
}

// An Origin is how a route comes to be there.
type Origin int

const (
	ByHand  Origin = iota // somebody put it there
	Network               // the network that the interface is on, or what that network has told it
)

// An OtherAddress is an address of the view's that another interface has.
type OtherAddress struct {
	Addr netip.Addr
	Link string
}

// A Refusal is why there is no plan, where the host could be looked at.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// refuseHost refuses what the host cannot do, before anything is changed.
func refuseHost(p *planner) error {
	h, name := &p.state.Hurdles, p.view.Tunnel
	switch {
	case h.NoRight:
		return ErrNoRight
	case h.NoTunnels != "" && p.state.Link == nil:
		return fault.New("cannot make the interface of tunnel", name, h.NoTunnels,
			"modprobe wireguard, or modprobe tun; a container is started with docker run --cap-add NET_ADMIN --device /dev/net/tun")
	case p.state.PortTaken:
		return portTaken(p)
	}
	return refuseIPv6(p)
}

// ErrNoRight is told to root of a container that may not change its network.
var ErrNoRight = fault.New("no right to change the network", "", "root has no CAP_NET_ADMIN in this container",
	"start the container with docker run --cap-add NET_ADMIN --device /dev/net/tun")

// portTaken comes before a redirect, which would take the tunnel's packets to
// whoever has the port.
func portTaken(p *planner) error {
	what := "cannot use the port of tunnel"
	if p.state.Device.ListenPort != 0 {
		what = "cannot change the port of tunnel"
	}
	owner, hint := p.state.Hurdles.PortOwner, HintPort
	if strings.HasPrefix(owner, "tunnel ") {
		hint = fmt.Sprintf("write another listen_port = under [hosts.%s] in tunnels/%s.toml", p.view.Host, p.view.Tunnel)
	}
	if owner == "" {
		owner = "another program"
	}
	return fault.New(what, p.view.Tunnel, fmt.Sprintf("%s has port %d, OUTSIDE, already", owner, p.view.ListenPort), hint)
}

// refuseIPv6: the other family alone is not what the file asks for.
func refuseIPv6(p *planner) error {
	why := p.state.Hurdles.NoIPv6
	wants := wantsIPv6(p)
	if why == "" || wants == "" || enablesIPv6(p) {
		return nil
	}
	hint := fmt.Sprintf("write ipv6 = false under [hosts.%s], for a tunnel with IPv4 alone there", p.view.Host)
	if key, ok := strings.CutSuffix(why, " is 1"); ok {
		hint += "; or sysctl -w " + key + "=0; or for the tunnel's interface alone: sysctls = { \"net.ipv6.conf." + p.view.Tunnel + ".disable_ipv6\" = 0 }"
	}
	return fault.New("no IPv6 on this host for tunnel", p.view.Tunnel, why+", and the tunnel file asks for "+wants, hint)
}

// wantsIPv6 says what the view needs it for on its link, or "".
func wantsIPv6(p *planner) string {
	for _, a := range p.view.Addresses {
		if !a.Addr().Is4() {
			return "the address " + a.String() + ", INSIDE"
		}
	}
	for i := range p.view.Routes {
		if r := &p.view.Routes[i]; !r.Prefix.Addr().Is4() {
			return "the route " + r.Prefix.String() + " to peer " + r.Peer + ", INSIDE"
		}
	}
	return ""
}

// disableIPv6 is the parameter of our own link, which a new link takes over from
// the default.
func disableIPv6(p *planner) string { return "net/ipv6/conf/" + p.view.Tunnel + "/disable_ipv6" }

// enablesIPv6 reports whether the tunnel file turns IPv6 on for the link.
func enablesIPv6(p *planner) bool {
	return p.state.Hurdles.NoIPv6 != NoIPv6AtAll && same(asked(p, disableIPv6(p)), "0")
}

// NoIPv6AtAll is where no parameter turns it on.
const NoIPv6AtAll = "this kernel runs without IPv6"

// setIPv6 comes before the addresses: what else the file sets comes last.
func setIPv6(p *parameters) {
	if p.state.Hurdles.NoIPv6 != "" && enablesIPv6(p.planner) {
		p.assign(disableIPv6(p.planner), "0", "the tunnel file says so")
	}
}

// fixed collects a parameter that cannot be set, and reports whether it cannot.
func (p *parameters) fixed(key, value string) bool {
	why := cmp.Or(p.state.Hurdles.Fixed[key], p.state.Hurdles.Fixed[p.inherited(key)]) // our own link may not be there yet
	if why == "" || key == p.unsure {
		return false
	}
	p.fixes = append(p.fixes, SideEffect{Key: key, Set: value, Was: why})
	return true
}

// refuseFixed tells all parameters at once: a container has to be started with them.
func (p *parameters) refuseFixed() error {
	if len(p.fixes) == 0 {
		return nil
	}
	first := p.fixes[0]
	var assigned []string
	for _, c := range p.fixes {
		assigned = append(assigned, sysctlName(c.Key)+"="+words.ForShell(c.Set))
	}
	assigned = slices.Compact(slices.Sorted(slices.Values(assigned)))
	hint := "sysctl -w " + strings.Join(assigned, " ") + ", outside of this container, or start it with docker run --sysctl " +
		strings.Join(assigned, " --sysctl ")
	if first.Was == ReadOnlySysctls {
		hint = "mount -o remount,rw,bind /proc/sys, or start the container with docker run --sysctl " + strings.Join(assigned, " --sysctl ")
	}
	return fault.New("cannot set kernel parameters for tunnel", p.view.Tunnel,
		first.Was+", and it needs "+strings.Join(assigned, ", "), hint)
}

// ReadOnlySysctls is why parameters cannot be set in most containers.
const ReadOnlySysctls = "/proc/sys is mounted read-only"

// asked is the value that the tunnel file has for a parameter, or "".
func asked(p *planner, key string) string {
	for name, value := range p.view.Sysctls {
		if k, err := tunnel.SysctlPath(name); err == nil && k == key {
			return value
		}
	}
	return ""
}

// inTheWay reports whether a route of the tunnel's cannot be made: the kernel has one
// route of a prefix, metric and table (fib_table_insert for IPv4, fib6_add_rt2node
// for IPv6, both with NLM_F_EXCL).
//
// Where the other one is the network's own, as in a house that has the prefix of the
// office, all else of the tunnel goes on: the house will be left again. Another one
// somebody put there, and he alone can say which of them is meant.
func inTheWay(p *planner, r Route, peer string) bool {
	for _, o := range p.state.Hurdles.Routes {
		if o.Prefix != r.Prefix || o.Table != r.Table || metricOf(o.Route) != metricOf(r) {
			continue
		}
		if o.Origin == Network && r.Prefix.Bits() >= wide {
			p.find("%s, INSIDE, of peer %s is not routed into the tunnel: it is also the network of %s, with the same metric; all else of the tunnel works. "+
				"Give one of the two networks another prefix", r.Prefix, peer, o.Link)
		} else if p.err == nil {
			p.err = o.refuse(p.view.Tunnel)
		}
		return true
	}
	return false
}

func (o OtherRoute) refuse(name string) error {
	whose, hint := "through "+o.Link, "ip "+o.family()+" route show "+o.Prefix.String()
	switch {
	case o.Link == "":
		whose = "that leads nowhere (" + hint + ")"
	case o.Tunnel:
		whose = "through the tunnel " + o.Link
	}
	return fault.New("cannot route into tunnel "+name+" the prefix", o.Prefix.String(),
		"there is already a route "+whose+" of the same metric",
		"remove that one, or give this tunnel's routes another metric: metric = 512 for the host in the tunnel file")
}

// metricOf is the kernel's number for it (IP6_RT_PRIO_USER).
func metricOf(r Route) int {
	if r.Metric == 0 && !r.Prefix.Addr().Is4() {
		return 1024
	}
	return r.Metric
}

// A claimedRoute is one of the tunnel's, its own or the kernel's with an address.
type claimedRoute struct {
	Route
	onLink bool
}

// lookBeside tells of the other routes that the tunnel's live with, and of addresses
// that another interface has too.
func lookBeside(p *planner) {
	for _, a := range p.state.Hurdles.Addresses {
		p.find("address %s, INSIDE, is also on %s: packets to and from it go by one of the two alone. Give one of them another address", a.Addr, a.Link)
	}
	if len(p.state.Hurdles.Routes) == 0 {
		return
	}
	wanted := map[netip.Prefix]claimedRoute{}
	for _, want := range p.view.Routes {
		if !p.policyRouting.routes[want.Prefix] {
			r := Route{Prefix: want.Prefix, Metric: normalMetric(want.Prefix, want.Metric), Table: normalTable(p.view.Table)}
			wanted[r.Prefix] = claimedRoute{r, false}
		}
	}
	for _, a := range p.view.Addresses {
		if n := a.Masked(); !n.IsSingleIP() {
			wanted[n] = claimedRoute{Route{Prefix: n, Metric: connectedMetric(n)}, true}
		}
	}
	for _, o := range p.state.Hurdles.Routes {
		compareRoute(p, o, wanted)
	}
}

// connectedMetric is that of the route that comes with an address: IPv6 has
// IP6_RT_PRIO_ADDRCONF.
func connectedMetric(n netip.Prefix) int {
	if n.Addr().Is4() {
		return 0
	}
	return 256
}

func compareRoute(p *planner, o OtherRoute, wanted map[netip.Prefix]claimedRoute) {
	r, same := wanted[o.Prefix]
	theirs, ours := metricOf(o.Route), metricOf(r.Route)
	switch {
	case same && (o.Table != r.Table || o.Link == "" && theirs > ours): // or one that waits behind the tunnel's
	case same && theirs < ours:
		p.find("%s, INSIDE, does not go into the tunnel: %s has a route to it of metric %d, and the tunnel's has %d. "+
			"Give one of the two networks another prefix, or this tunnel's routes a lower metric", o.Prefix, o.name(), theirs, ours)
	case same && theirs == ours && r.onLink:
		p.find("network %s, INSIDE, is also that of %s: packets to it go by one of the two alone. Give one of them another prefix", o.Prefix, o.name())
	case same && (theirs > ours || slices.ContainsFunc(p.state.Routes, func(have Route) bool { return have.key() == r.key() })):
		p.note("%s, INSIDE, goes into the tunnel; %s has a route to the same prefix, which is not used meanwhile", o.Prefix, o.name())
	case !same && o.Table == 0 && normalTable(p.view.Table) == 0 && !o.Tunnel && o.Origin == Network:
		notePart(p, o, wanted)
	}
}

// notePart tells of a network that is a part of what the tunnel leads to.
func notePart(p *planner, o OtherRoute, wanted map[netip.Prefix]claimedRoute) {
	for bits := o.Prefix.Bits() - 1; bits >= wide; bits-- {
		if outer, err := o.Prefix.Addr().Prefix(bits); err == nil && wanted[outer].Prefix.IsValid() {
			p.note("%s, the network of %s, is a part of %s, INSIDE, and stays outside of the tunnel", o.Prefix, o.name(), outer)
			return
		}
	}
}

func (o OtherRoute) name() string {
	switch {
	case o.Link == "":
		return "a route that leads nowhere"
	case o.Tunnel:
		return "tunnel " + o.Link
	}
	return o.Link
}
