package apply

import (
	"net/netip"
	"slices"
)

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
