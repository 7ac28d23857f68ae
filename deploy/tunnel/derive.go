package tunnel

import (
	"cmp"
	"net/netip"
	"path"
	"slices"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// View derives the configuration of host. The keys are the public keys of the tunnel's
// hosts by name; those of host and of all its peers must be present.
func (t *Tunnel) View(host string, keys map[string]keyring.PublicKey) (*View, error) {
	return t.Views(keys)(host)
}

// Views returns [Tunnel.View] for each host with the same keys, which are compared with
// each other once: for a thousand hosts that was half of the time.
func (t *Tunnel) Views(keys map[string]keyring.PublicKey) func(host string) (*View, error) {
	twice := usedTwice(t, keys)
	return func(host string) (*View, error) { return viewOf(t, host, keys, twice) }
}

// viewOf is [Tunnel.View] with the keys that two hosts have.
func viewOf(t *Tunnel, host string, keys map[string]keyring.PublicKey, twice []error) (*View, error) {
	h, err := t.host(host)
	if err != nil {
		return nil, err
	}
	peers := t.peers(h)
	if err := join(append(missingKeys(t, h, peers, keys), twice...)); err != nil {
		return nil, err
	}
	v := &View{
		Tunnel:         t.Name,
		Host:           h.name,
		About:          h.forPeople(),
		PublicKey:      keys[h.name],
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
	v.Peers = slices.Grow(v.Peers, len(peers))
	for _, peer := range peers {
		v.Peers = append(v.Peers, t.peer(h, peer, keys[peer.name]))
	}
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
	v.Routes = t.routes(h, peers, v)
	return v, nil
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
func missingKeys(t *Tunnel, h *host, peers []*host, keys map[string]keyring.PublicKey) (errs []error) {
	var missing, toMake []string
	for _, o := range append([]*host{h}, peers...) {
		if keys[o.name].IsZero() {
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
func usedTwice(t *Tunnel, keys map[string]keyring.PublicKey) (errs []error) {
	owner := make(map[keyring.PublicKey]string, len(keys))
	for _, h := range t.sorted {
		k := keys[h.name]
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

func pubFile(host, tunnel string) string { return path.Join("keyring", host, tunnel+".pub") }

// peer derives h's entry of its peer.
func (t *Tunnel) peer(h, peer *host, key keyring.PublicKey) Peer {
	pair := h.pair(peer.name)
	p := Peer{
		Name:       peer.name,
		About:      peer.forPeople(),
		PublicKey:  key,
		Keepalive:  first(pair.keepalive, h.keepalive, t.keepalive).val,
		AllowedIPs: []netip.Prefix{},
	}
	if e := endpointOf(h, peer); e.given() {
		p.Endpoint = e.val.withPort(t.listenPortOf(peer))
	}
	if t.hasPSK(h, peer) {
		p.PresharedKeyFile = t.pskFile(h, peer)
	}
	for _, c := range allowed(h, peer) {
		p.AllowedIPs = append(p.AllowedIPs, c.val)
	}
	slices.SortFunc(p.AllowedIPs, netip.Prefix.Compare)
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
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Peer, b.Peer))
	})
	return routes
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
