package tunnel

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"sync"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/parallel"
)

// View derives the configuration of host. The keys are the public keys of the tunnel's
// hosts by name; those of host and of all its peers must be present.
func (t *Tunnel) View(host string, keys map[string]keyring.PublicKey) (*View, error) {
	return t.Views(func(host string) keyring.PublicKey { return keys[host] })(host)
}

// Views returns [Tunnel.View] for each host with the same keys, which are compared with
// each other once: for a thousand hosts that was half of the time. Key returns the key of a
// host, and may be called for several at the same time.
func (t *Tunnel) Views(key func(host string) keyring.PublicKey) func(host string) (*View, error) {
	own := make([]keyring.PublicKey, len(t.sorted))
	parts := parallel.Ranges(len(own), fewHosts)
	parallel.Each(len(parts), func(n int) {
		for i := parts[n].From; i < parts[n].To; i++ {
			own[i] = key(t.sorted[i].name)
		}
	})
	twice := sync.OnceValue(func() []error { return usedTwice(t, own) })
	return func(host string) (*View, error) { return viewOf(t, host, own, twice) }
}

// viewOf is [Tunnel.View] with the keys of all hosts, in the order of t.sorted, and the errors
// about those that two hosts have.
func viewOf(t *Tunnel, host string, keys []keyring.PublicKey, twice func() []error) (v *View, err error) {
	h, err := t.host(host)
	if err != nil {
		return nil, err
	}
	peers := t.peers(h)
	missing := missingKeys(t, h, peers, keys)
	if len(missing) == 0 {
		parallel.Do(len(peers) >= fewHosts, func() { v = derive(t, h, peers, keys) }, func() { twice() })
	}
	if err := join(append(missing, twice()...)); err != nil {
		return nil, err
	}
	return v, nil
}

// derive makes the view of h, with the keys of all hosts.
func derive(t *Tunnel, h *host, peers []*host, keys []keyring.PublicKey) *View {
	v := &View{
		Tunnel:         t.Name,
		Host:           h.name,
		About:          h.forPeople(),
		PublicKey:      keys[h.at],
		PrivateKeyFile: t.privateKeyFile(h),
		ListenPort:     t.listenPortOf(h),
		MTU:            first(h.mtu, t.mtu).val,
		FwMark:         uint32(h.fwmark.val),
		Table:          tableOf(h),
		NoKillSwitch:   h.killSwitch.given() && !h.killSwitch.val,
		Isolate:        h.isolate.val,
		NoBoot:         h.boot.given() && !h.boot.val,
		Forward:        h.forward.val,
		ForwardIPv4:    h.forward.val && t.v4,
		ForwardIPv6:    h.forward.val && t.v6 && !h.withoutIPv6(),
	}
	v.MasqueradeTunnel = h.masquerade.val.tunnel
	v.Addresses, v.Remotes = h.ownAddresses(), h.remotes()
	v.Through = through(h, peers)
	parallel.Do(len(peers) >= fewHosts,
		func() { v.Peers = entries(t, h, peers, keys) }, func() { v.Routes = t.routes(h, peers, v) })
	for _, s := range h.sysctls {
		if v.Sysctls == nil {
			v.Sysctls = make(map[string]string, len(h.sysctls))
		}
		v.Sysctls[s.key] = s.val
	}
	if h.ndpProxy.val {
		v.Proxies = proxies(v.Peers)
	}
	if m := h.masquerade.val; m.peers {
		v.Masquerade, v.MasqueradeBy = sources(v.Peers), m.by
	}
	for _, d := range h.dns.vals {
		v.DNS = append(v.DNS, d.val)
	}
	return v
}

func (h *host) forPeople() About { return About{h.description.val, h.unmanaged()} }

// ownAddresses are the addresses of the host in the tunnel, sorted.
func (h *host) ownAddresses() (own []netip.Prefix) {
	for _, a := range h.addresses.vals {
		if a.val.Addr().Is4() || !h.withoutIPv6() {
			own = append(own, a.val.Prefix)
		}
	}
	slices.SortFunc(own, netip.Prefix.Compare)
	return own
}

// through are the prefixes that peers are to reach through h, a router: its routes, or what
// a peer's own allowed_ips = says instead. A default route leads to the uplinks.
func through(h *host, peers []*host) (prefixes []netip.Prefix) {
	if !h.forward.val {
		return nil
	}
	add := func(list []value[netip.Prefix]) {
		for _, n := range list {
			if n.val.Bits() > 0 && (n.val.Addr().Is4() || !h.withoutIPv6()) {
				prefixes = append(prefixes, n.val)
			}
		}
	}
	add(h.routes.vals)
	for _, p := range peers {
		if pair := p.pairs[h.name]; pair != nil {
			add(pair.allowedIPs.vals)
		}
	}
	prefixes = slices.DeleteFunc(prefixes, func(n netip.Prefix) bool {
		return slices.ContainsFunc(h.addresses.vals, func(a value[address]) bool { return n == single(a.val.Addr()) })
	})
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes)
}

// remotes are the far ends of point-to-point addresses.
func (h *host) remotes() map[netip.Addr]netip.Prefix {
	var remotes map[netip.Addr]netip.Prefix
	for _, a := range h.addresses.vals {
		if a.val.remote.IsValid() && (a.val.Addr().Is4() || !h.withoutIPv6()) {
			if remotes == nil {
				remotes = map[netip.Addr]netip.Prefix{}
			}
			remotes[a.val.Addr()] = a.val.remote
		}
	}
	return remotes
}

// missingKeys refuses if the public key of h or of one of its peers is missing.
func missingKeys(t *Tunnel, h *host, peers []*host, keys []keyring.PublicKey) (errs []error) {
	var missing, toMake []string
	for _, o := range append([]*host{h}, peers...) {
		if keys[o.at].IsZero() {
			missing = append(missing, o.name)
			if !o.unmanaged() {
				toMake = append(toMake, o.name)
			}
		}
	}
	slices.Sort(toMake) // so that two hosts have the same hint
	for _, name := range missing {
		file, hint := pubFile(name, t.Name), t.Commands.Gen(toMake...)
		if t.Unmanaged(name) {
			hint = t.Commands.IfNotRenamed([]string{name}, "write its public key into "+file+", or for one to export: "+
				t.Commands.Run("gen", name))
		}
		errs = append(errs, fault.NewHost("no public key yet for host", name, "there is no "+file, hint))
	}
	return errs
}

// usedTwice refuses a key that two hosts have.
func usedTwice(t *Tunnel, keys []keyring.PublicKey) (errs []error) {
	if allDiffer(keys) {
		return nil
	}
	owner := make(map[keyring.PublicKey]string, len(keys))
	for i, h := range t.sorted {
		k := keys[i]
		if k.IsZero() {
			continue
		}
		if other, ok := owner[k]; ok {
			errs = append(errs, fault.NewFile("two hosts with one public key", pubFile(h.name, t.Name),
				"the same key is in "+pubFile(other, t.Name),
				"wgkeys check")) // the caller knows whether the vault or git has another one
		}
		owner[k] = h.name
	}
	return errs
}

// allDiffer reports whether no key is there twice; the zero key is none.
func allDiffer(keys []keyring.PublicKey) bool {
	some, seen := 0, make(unique[keyring.PublicKey], len(keys))
	for _, k := range keys {
		if !k.IsZero() {
			some++
			seen[k] = struct{}{}
		}
	}
	return len(seen) == some
}

func pubFile(host, tunnel string) string { return path.Join("keyring", host, tunnel+".pub") }

// entries derives h's entries of its peers.
func entries(t *Tunnel, h *host, peers []*host, keys []keyring.PublicKey) []Peer {
	if len(peers) == 0 {
		return nil
	}
	list, room := make([]Peer, len(peers)), make([]netip.Prefix, 0, len(peers)) // at once, for ten thousand
	for i, peer := range peers {
		list[i] = t.peer(h, peer, keys[peer.at], &room)
	}
	return list
}

// peer derives h's entry of its peer. Its allowed IPs go into room, if there is some.
func (t *Tunnel) peer(h, peer *host, key keyring.PublicKey, room *[]netip.Prefix) Peer {
	pair := h.pair(peer.name)
	p := Peer{
		Name:      peer.name,
		About:     peer.forPeople(),
		PublicKey: key,
		Keepalive: first(pair.keepalive, h.keepalive, t.keepalive).val,
	}
	if e := endpointOf(h, peer); e.given() {
		p.Endpoint = e.val.withPort(t.listenPortOf(peer))
	}
	if t.hasPSK(h, peer) {
		p.PresharedKeyFile = t.pskFile(h, peer)
	}
	from := len(*room)
	for _, c := range allowed(h, peer) {
		*room = append(*room, c.val)
	}
	p.AllowedIPs = slices.Clip((*room)[from:])
	slices.SortFunc(p.AllowedIPs, compareMasked)
	return p
}

// routes derives the routes to the peers of h, except for a prefix that is h's own: the
// kernel makes that route with the address, in the main table.
func (t *Tunnel) routes(h *host, peers []*host, v *View) []Route {
	onLink := map[netip.Prefix]bool{}
	for _, n := range v.Networks() {
		onLink[n] = true
	}
	gateway := t.gatewayPeer(h)
	var routes []Route
	for _, p := range peers {
		for _, to := range routed(h, p) {
			prefix := to.val
			if onLink[prefix] && v.Table == tableNone {
				continue
			}
			r := Route{Prefix: prefix, Metric: h.metric.val, Peer: p.name}
			via := h.gateway.val
			if gateway == p && !prefix.IsSingleIP() && via.Is4() == prefix.Addr().Is4() {
				r.Gateway = via
			}
			if routes == nil {
				routes = make([]Route, 0, len(peers))
			}
			routes = append(routes, r)
		}
	}
	slices.SortFunc(routes, func(a, b Route) int {
		if c := compareMasked(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return cmp.Compare(a.Peer, b.Peer)
	})
	return routes
}

// compareMasked is [netip.Prefix.Compare] for prefixes without host bits, as those of routes
// are. That one masks both each time, which takes several times as long.
func compareMasked(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return cmp.Compare(a.Bits(), b.Bits())
}

// sources returns the INSIDE prefixes of the peers, sorted, without a default route, which
// would be everybody.
func sources(peers []Peer) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range peers {
		for _, prefix := range p.AllowedIPs {
			if prefix.Bits() > 0 {
				prefixes = append(prefixes, prefix)
			}
		}
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return prefixes
}

// proxies returns the single IPv6 addresses of the peers, sorted.
func proxies(peers []Peer) []netip.Addr {
	var addrs []netip.Addr
	for _, p := range peers {
		for _, prefix := range p.AllowedIPs {
			if prefix.Addr().Is6() && prefix.IsSingleIP() {
				addrs = append(addrs, prefix.Addr())
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}
