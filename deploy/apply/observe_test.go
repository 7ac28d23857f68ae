package apply_test

import (
	"context"
	"net/netip"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Observe implements [apply.Kernel]. Like the real one it looks only at what
// the view and the journal speak of.
func (k *kernel) Observe(_ context.Context, name string, view *tunnel.View,
	entries journal.Entries) (*apply.State, error) {
	s := &apply.State{Sysctls: map[string]string{}, KeyFiles: k.keyFiles, Endpoints: k.names, Paths: k.paths,
		Resolver: "systemd-resolved"}
	if l := k.links[name]; l != nil {
		have := l.Link
		s.Link, s.LinkIndex = &have, l.index
		if view != nil {
			k.observeTunnel(name, l, s)
		}
	}
	if view != nil {
		s.Elsewhere = k.elsewhere(view)
	}
	if view != nil && (view.Forward || view.Proxies != nil) || speaksOf(entries, journal.Proxy) {
		s.Uplinks = k.uplinks()
		s.Proxies = slices.Clone(k.proxies)
	}
	k.observeRules(s)
	s.Unreachables = slices.Clone(k.nowhere)
	s.Threads = k.threads
	if s.Link == nil {
		s.Threads.Link = ""
	}
	s.Redirects, s.Labels = !k.userspace, true
	if f := k.filters[name]; f != nil {
		s.FilterRules = f.Rules()
	}
	for key, value := range k.sysctls {
		if _, mine := entries[journal.Sysctl.Of(key)]; mine || view != nil && asks(view, s, key) || resets(entries, key) {
			s.Sysctls[key] = value
		}
	}
	return s, nil
}

func speaksOf(entries journal.Entries, kind journal.Kind) bool {
	for resource := range entries {
		if resource.Kind == kind {
			return true
		}
	}
	return false
}

func (k *kernel) observeRules(s *apply.State) {
	s.Rules = slices.Clone(k.rules)
	for _, r := range k.rules {
		s.TakenTables = append(s.TakenTables, r.Table)
		for _, m := range []apply.Mark{r.Mark, r.NotMark} {
			if m.Value != 0 {
				s.TakenMarks = append(s.TakenMarks, m)
			}
		}
	}
}

// asks reports whether the real kernel's Observe would read key for view.
func asks(view *tunnel.View, s *apply.State, key string) bool {
	switch base := path.Base(key); {
	case key == "net/ipv4/conf/all/send_redirects", key == "net/ipv4/conf/all/src_valid_mark",
		key == "net/ipv4/tcp_fwmark_accept":
		return true
	case view.Forward && (base == "forwarding" || base == "force_forwarding" || base == "accept_ra" ||
		key == "net/ipv4/ip_forward" ||
		key == "net/ipv4/conf/all/accept_redirects"):
		return true
	case base == "proxy_ndp" && slices.ContainsFunc(s.Uplinks, func(u apply.Uplink) bool {
		return u.Name == path.Base(path.Dir(key))
	}):
		return true
	}
	for name := range view.Sysctls {
		file, err := tunnel.SysctlPath(name)
		own := strings.Replace(file, "/"+view.Tunnel+"/", "/default/", 1)
		if err == nil && (file == key || own == key) {
			return true
		}
	}
	return false
}

// resets reports whether undoing what the journal speaks of resets key, or is to.
func resets(entries journal.Entries, key string) bool {
	router := entries.Has(journal.Sysctl.Of("net/ipv6/conf/all/forwarding")) ||
		entries.Has(journal.Sysctl.Of("net/ipv6/conf/default/force_forwarding"))
	return router && path.Base(key) == "force_forwarding"
}

func (k *kernel) observeTunnel(name string, l *link, s *apply.State) {
	s.Device = l.device
	s.Addresses = slices.Clone(l.addresses)
	for _, key := range sortedPeers(l) {
		p := *l.peers[key]
		p.AllowedIPs = l.prefixes(key)
		s.Peers = append(s.Peers, p)
	}
	for _, r := range k.routes {
		if r.link == name && !r.ra {
			s.Routes = append(s.Routes, r.Route)
		}
	}
	if l.Up {
		s.Connected = l.connected()
	}
}

// elsewhere are the routes of other links within what the view sends into the tunnel.
func (k *kernel) elsewhere(view *tunnel.View) []apply.Route {
	within := view.Networks()
	for _, r := range view.Routes {
		within = append(within, r.Prefix)
	}
	var found []apply.Route
	for _, r := range k.routes {
		covers := func(p netip.Prefix) bool { return !p.IsSingleIP() && around(p, r.Prefix) }
		if r.link != view.Tunnel && slices.ContainsFunc(within, covers) {
			found = append(found, r.Route)
		}
	}
	return found
}

// around reports whether all of p lies in wide.
func around(wide, p netip.Prefix) bool { return wide.Bits() <= p.Bits() && wide.Contains(p.Addr()) }

func sortedPeers(l *link) []keyring.PublicKey {
	var keys []keyring.PublicKey
	for key := range l.peers {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b keyring.PublicKey) int { return slices.Compare(a[:], b[:]) })
	return keys
}

func (l *link) prefixes(key keyring.PublicKey) []netip.Prefix {
	var list []netip.Prefix
	for prefix, owner := range l.allowed {
		if owner == key {
			list = append(list, prefix)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

func (k *kernel) uplinks() []apply.Uplink {
	found := map[string]apply.Uplink{}
	for _, r := range k.routes {
		if r.Prefix.Bits() != 0 || r.Table != 0 {
			continue
		}
		u := found[r.link]
		u.Name = r.link
		u.IPv4 = u.IPv4 || r.Prefix.Addr().Is4()
		u.IPv6 = u.IPv6 || r.Prefix.Addr().Is6()
		u.RA = u.RA || r.ra
		found[r.link] = u
	}
	var list []apply.Uplink
	for _, u := range found {
		if u.IPv6 {
			u.OnLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:7767::/64")}
		}
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b apply.Uplink) int { return strings.Compare(a.Name, b.Name) })
	return list
}
