package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A Plan is the way from what the kernel has to what is wanted.
type Plan struct {
	Tunnel string
	Host   string
	Steps  []Step
	Notes  []string // what is left alone, and why

	// Findings are what keeps the tunnel from doing what its file promises and no
	// step of ours can mend, with the way out: another program's firewall, a route
	// that wins over the tunnel's. A status of the host is not clean while there are
	// any.
	Findings []string

	Missing []error // what [Run] could not do, and the tunnel works without

	Known bool         // that it is empty, from an earlier one
	View  *tunnel.View // what is true after it: the one asked for, with the keys in use, see [Follow]
}

func refuse(p *planner) error {
	v, name := p.view, p.view.Tunnel
	if p.state.Renamed != "" {
		return fault.New("somebody renamed the interface of tunnel", name, "it is now "+p.state.Renamed,
			"ip link set "+p.state.Renamed+" name "+name+" (while it is down), or wgkeys down -t "+name)
	}
	if p.state.Link != nil && !p.linkIsMine() {
		return notOurs(name)
	}
	if err := refuseHost(p); err != nil {
		return err
	}
	if err := refuseInside(p); err != nil {
		return err
	}
	if p.state.Device.PublicKey == v.PublicKey {
		return refusePSKs(p)
	}
	file := p.state.KeyFiles[v.PrivateKeyFile]
	if file.Err != nil {
		return file.Err
	}
	if file.PublicKey != v.PublicKey {
		return fault.New("wrong private key in", v.PrivateKeyFile, wrongKey(p, file.PublicKey), "git pull, then wgkeys push "+v.Host)
	}
	return refusePSKs(p)
}

func notOurs(name string) error {
	return fault.New("will not touch the interface", name, "it is there already and wgkeys did not make it",
		"bring it down the way it was brought up (wg-quick down "+name+", or ip link del "+name+"), then run wgkeys apply again")
}

// HintPort says who has a port that a tunnel is to have.
const HintPort = "ss -ulpn shows who has it; stop that, or choose another listen_port in the tunnel file"

func wrongKey(p *planner, found keyring.PublicKey) string {
	whose := "no host of this tunnel"
	for _, peer := range p.view.Peers {
		if peer.PublicKey == found {
			whose = "host " + peer.Name
		}
	}
	return fmt.Sprintf("its public key is %s (of %s), and the keyring has %s for %s",
		found, whose, p.view.PublicKey, p.view.Host)
}

func refusePSKs(p *planner) error {
	for _, peer := range p.view.Peers {
		if peer.PresharedKeyFile == "" {
			continue
		}
		if err := p.state.KeyFiles[peer.PresharedKeyFile].Err; err != nil {
			return err
		}
	}
	return nil
}

func (p *linkPlanner) addLink() {
	if p.state.Link != nil {
		return
	}
	// wg_open turns off redirects on all interfaces as it brings the link up.
	link := LinkChange{Name: p.view.Tunnel, New: &Link{MTU: p.mtu()}}
	if was, ok := p.now[sendRedirects]; ok {
		link.SideEffects = []SideEffect{{sendRedirects, was, "0", p.was(sendRedirects, was)}}
	}
	p.step(link, "%s", p.whyLink())
}

func setDevice(p *filterPlanner) {
	want := wantDevice(p.planner)
	if markTransition(p.planner) {
		want.FwMark = p.state.Device.FwMark // until setMark
	}
	p.redirectPort(p.state.Device.ListenPort, want.ListenPort)
	changeDevice(p.planner, p.state.Device, want)
	p.endRedirect()
}

func wantDevice(p *planner) Device {
	v := p.view
	want := Device{v.PublicKey, v.PrivateKeyFile, v.ListenPort, cmp.Or(v.FwMark, p.policyRouting.mark.Value)}
	if want.ListenPort == 0 { // the kernel's choice, once made, stays
		want.ListenPort = p.state.Device.ListenPort
	}
	return want
}

func changeDevice(p *planner, old, want Device) {
	var why []string
	if old.PublicKey != want.PublicKey {
		why = append(why, "its private key, whose public key is "+want.PublicKey.String())
	}
	if old.ListenPort != want.ListenPort {
		why = append(why, "its port, OUTSIDE")
	}
	if old.FwMark != want.FwMark {
		why = append(why, "the mark of its encrypted packets")
	}
	if why != nil {
		p.step(DeviceChange{p.view.Tunnel, old, want}, "%s", strings.Join(why, "; "))
	}
}

func setAddresses(p *planner) {
	for _, a := range subtract(p.view.Addresses, p.state.Addresses) {
		p.step(AddressChange{p.view.Tunnel, a, true}, "address of %s, INSIDE", p.view.Host)
	}
}

func removeAddresses(p *planner) {
	for _, a := range subtract(p.state.Addresses, p.view.Addresses) {
		c := AddressChange{p.view.Tunnel, a, false}
		if p.isMine(c.Resource()) {
			p.step(c, "no longer an address of %s", p.view.Host)
		} else {
			p.note("address %s on %s was not made by wgkeys: left alone", a, p.view.Tunnel)
		}
	}
}

func (p *linkPlanner) raiseLink() {
	have := Link{MTU: p.mtu()}
	if p.state.Link != nil {
		have = *p.state.Link
		have.MTU = max(have.MTU, p.mtu())
	}
	if have.Up {
		return
	}
	p.step(LinkChange{Name: p.view.Tunnel, Old: &have, New: &Link{have.Kind, have.MTU, true}}, "bring it up")
	if _, ok := p.now[sendRedirects]; ok { // a device in user space leaves it as it is
		p.now[sendRedirects], p.unsure = "0", sendRedirects
	}
}

// setRoutes adds and replaces first and removes last: what stays is never
// without its route.
func setRoutes(p *planner) {
	live := liveRoutes{routes: p.state.Routes, taken: make([]bool, len(p.state.Routes))}
	covered := map[Route]bool{}
	for _, want := range wantedRoutes(p) {
		if want.covered {
			covered[want.key()] = true
			continue
		}
		r := want.Route
		switch old := live.take(r.key()); {
		case old == nil && inTheWay(p, r, want.peer):
		case old == nil:
			p.step(RouteChange{p.view.Tunnel, nil, &r}, "leads to peer %s, INSIDE", want.peer)
		case *old != r:
			was := *old
			p.step(RouteChange{p.view.Tunnel, &was, &r}, "another gateway, INSIDE")
		}
	}
	left := live.left()
	if len(left) == 0 {
		return
	}
	stale := sortForGateways(p.state.Routes, func(r Route) netip.Addr { return r.Gateway })
	for _, r := range slices.Backward(stale) {
		if !left[r.key()] {
			continue
		}
		c := RouteChange{p.view.Tunnel, &r, nil}
		switch {
		case p.isMine(c.Resource()) && covered[r.key()]:
			p.step(c, "a wider prefix of the tunnel leads there as well, INSIDE")
		case p.isMine(c.Resource()):
			p.step(c, "leads nowhere any more")
		default:
			p.note("route %s through %s was not made by wgkeys: left alone", r.Prefix, p.view.Tunnel)
		}
	}
}

// sortForGateways returns the routes without a gateway first: one with a gateway
// is accepted only where the gateway is reached already. They go the other way
// round, so that going can be undone.
func sortForGateways[R any](routes []R, gateway func(R) netip.Addr) []R {
	if !slices.ContainsFunc(routes, func(r R) bool { return gateway(r).IsValid() }) {
		return routes // ten thousand, as a rule
	}
	sorted := slices.Clone(routes)
	slices.SortStableFunc(sorted, func(a, b R) int {
		switch av, bv := gateway(a).IsValid(), gateway(b).IsValid(); {
		case av == bv:
			return 0
		case bv:
			return -1
		}
		return 1
	})
	return sorted
}

// normalMetric spells the kernel's default metric as 0 (IP6_RT_PRIO_USER).
func normalMetric(prefix netip.Prefix, metric int) int {
	if !prefix.Addr().Is4() && metric == 1024 {
		return 0
	}
	return metric
}

// normalTable spells the main table as 0 (RT_TABLE_MAIN).
func normalTable(table int) int {
	if table == 254 {
		return 0
	}
	return table
}

// setProxies has the uplinks answer for INSIDE addresses (RFC 4389): right
// where the provider has the prefix on the link, needless where it routes it.
func (p *forwarding) setProxies() {
	have := make(map[Proxy]bool, len(p.state.Proxies))
	for _, x := range p.state.Proxies {
		have[x] = true
	}
	var want []Proxy
	for _, link := range proxyLinks(p.planner) {
		p.set("net/ipv6/conf/"+link+"/proxy_ndp", "1", "%s answers for INSIDE addresses", link)
		if p.proxiesRoute(link) {
			p.set(forwardingOf(link), "1", "only where %s forwards by itself are neighbours answered for", link)
		}
		for _, a := range p.view.Proxies {
			want = append(want, Proxy{link, a})
		}
	}
	if want == nil && p.view.Proxies != nil {
		p.note("no interface has an IPv6 default route, so there is none to proxy neighbours on")
	}
	noteRouted(p.planner, want)
	for _, x := range want {
		if !have[x] {
			p.step(ProxyChange{x, true}, "answer on %s, OUTSIDE, for %s, INSIDE", x.Link, x.Addr)
		}
	}
	for _, x := range p.state.Proxies {
		if c := (ProxyChange{x, false}); p.isMine(c.Resource()) && !slices.Contains(want, x) {
			p.step(c, "no longer to be answered for")
		}
	}
}

// noteRouted warns of what a provider that routes the prefix would not ask for.
func noteRouted(p *planner, want []Proxy) {
	for _, u := range p.uplinks() {
		onLink := func(x Proxy) bool {
			return x.Link != u.Name || slices.ContainsFunc(u.OnLink, func(n netip.Prefix) bool { return n.Contains(x.Addr) })
		}
		if i := slices.IndexFunc(want, func(x Proxy) bool { return !onLink(x) }); i >= 0 {
			p.note("ndp_proxy: %s, INSIDE, is in no prefix that is on-link on %s; a provider that routes the prefix to this host never asks for it, and ndp_proxy does nothing", want[i].Addr, u.Name)
		}
	}
}

// proxyLinks are the IPv6 uplinks, and those that were when we began: an uplink
// that lost its default route for a while keeps its proxies.
func proxyLinks(p *planner) []string {
	if p.view.Proxies == nil {
		return nil
	}
	var links []string
	for _, u := range p.uplinks() {
		if u.IPv6 {
			links = append(links, u.Name)
		}
	}
	for _, x := range p.state.Proxies {
		if p.isMine(ProxyChange{x, true}.Resource()) && !slices.Contains(links, x.Link) {
			links = append(links, x.Link)
		}
	}
	return links
}
