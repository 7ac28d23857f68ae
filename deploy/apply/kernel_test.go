package apply_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A kernel is a host's network in memory. It does what the real one does beside
// what it is asked for, because that is what plans have to reckon with.
type kernel struct {
	userspace bool // WireGuard does not run in the kernel: nothing is done at wg_open
	links     map[string]*link
	made      int // links so far
	routes    []route
	rules     []apply.Rule
	nowhere   []apply.Unreachable
	proxies   []apply.Proxy
	filters   map[string]*apply.Filter
	dns       map[string][]string
	unmanaged map[journal.Resource]string // file by the change's resource
	sysctls   map[string]string
	keyFiles  map[string]apply.KeyFile
	names     map[string]apply.Endpoint
	threads   apply.Threads
	paths     map[netip.Addr]apply.Path // nil: none of them is narrow

	n    int                                         // changes asked for so far
	hook func(m moment, n int, c apply.Change) error // called around each
}

// A moment is before or after a change.
type moment bool

const (
	before moment = false
	after  moment = true
)

// A link is an interface; peers and allowed are those of a tunnel.
type link struct {
	apply.Link
	index     int
	device    apply.Device
	addresses []apply.Address
	peers     map[keyring.PublicKey]*apply.Peer // without their allowed IPs
	allowed   map[netip.Prefix]keyring.PublicKey
}

// next numbers the links, as the kernel does.
func (k *kernel) next() int { k.made++; return k.made }

// LinkIndex implements [apply.Kernel].
func (k *kernel) LinkIndex(name string) (int, error) {
	if l := k.links[name]; l != nil {
		return l.index, nil
	}
	return 0, errors.New("no such link")
}

// A route is one in any table, through any link.
type route struct {
	apply.Route
	link string
	ra   bool // learned from a router advertisement
}

// Do implements [apply.Kernel].
func (k *kernel) Do(_ context.Context, changes []apply.Change) error {
	for _, c := range changes {
		k.n++
		if k.hook != nil {
			if err := k.hook(before, k.n, c); err != nil {
				return err
			}
		}
		if err := k.do(c); err != nil {
			return err
		}
		if k.hook != nil {
			if err := k.hook(after, k.n, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kernel) do(c apply.Change) error {
	switch c := c.(type) {
	case apply.LinkChange:
		return k.setLink(c)
	case apply.DeviceChange:
		return k.setDevice(c)
	case apply.PeerChange:
		return k.setPeer(c)
	case apply.AddressChange:
		return k.setAddress(c)
	case apply.RouteChange:
		return k.setRoute(c)
	case apply.RuleChange:
		k.rules = set(k.rules, c.Rule, c.Add)
		return nil
	case apply.UnreachableChange:
		k.nowhere = set(k.nowhere, c.Route, c.Add)
		return nil
	case apply.ProxyChange:
		k.proxies = set(k.proxies, c.Proxy, c.Add)
		return nil
	case apply.FilterChange:
		put(k.filters, c.Link, c.New, c.New != nil)
		return nil
	case apply.DNSChange:
		put(k.dns, c.Link, c.New, c.New != nil)
		return nil
	case apply.ManagerChange:
		put(k.unmanaged, c.Resource(), c.File, c.Add)
		return nil
	case apply.SysctlChange:
		return k.setSysctl(c)
	case apply.ThreadsChange:
		k.threads.Link = map[bool]string{false: "0", true: "1"}[c.On]
		return nil
	case apply.ShareChange, apply.ReleaseChange:
		return nil
	}
	return fmt.Errorf("the kernel of the tests knows no %T", c)
}

func set[T comparable](list []T, x T, there bool) []T {
	list = slices.DeleteFunc(slices.Clone(list), func(y T) bool { return x == y })
	if there {
		return append(list, x)
	}
	return list
}

func put[K comparable, V any](m map[K]V, key K, value V, there bool) {
	delete(m, key)
	if there {
		m[key] = value
	}
}

func (k *kernel) setSysctl(c apply.SysctlChange) error {
	err := k.write(c.Key, c.New)
	if errors.Is(err, fs.ErrNotExist) && c.Old != "" {
		return nil
	}
	return err
}

// perLink are the parameters that each interface has, by family.
var perLink = map[string][]string{
	"net/ipv4/conf": {"accept_redirects", "forwarding", "rp_filter", "send_redirects", "src_valid_mark"},
	"net/ipv6/conf": {"accept_ra", "forwarding", "proxy_ndp"},
}

// appear makes an interface's parameters, which have the default's values.
func (k *kernel) appear(name string) {
	for dir, keys := range perLink {
		for _, key := range keys {
			k.sysctls[path.Join(dir, name, key)] = k.sysctls[path.Join(dir, "default", key)]
		}
	}
	if v, ok := k.sysctls["net/ipv6/conf/default/force_forwarding"]; ok {
		k.sysctls[path.Join("net/ipv6/conf", name, "force_forwarding")] = v
	}
}

// canForce makes k a kernel of Linux 6.17 and later.
func (k *kernel) canForce() *kernel {
	for key := range maps.Clone(k.sysctls) {
		if is, _ := path.Match("net/ipv6/conf/*/forwarding", key); is {
			k.sysctls[path.Join(path.Dir(key), "force_forwarding")] = "0"
		}
	}
	return k
}

// forwards6 is what ip6_forward() looks at for what comes in by a link.
func (k *kernel) forwards6(name string) bool {
	return k.sysctls["net/ipv6/conf/all/forwarding"] == "1" || k.sysctls["net/ipv6/conf/"+name+"/force_forwarding"] == "1"
}

func (k *kernel) setLink(c apply.LinkChange) error {
	l := k.links[c.Name]
	switch {
	case c.New == nil && l == nil:
		return nil
	case c.New == nil:
		k.removeLink(c.Name)
		return nil
	case l == nil && c.Old == nil:
		k.links[c.Name] = &link{index: k.next(), Link: apply.Link{Kind: "wireguard", MTU: c.New.MTU},
			peers: map[keyring.PublicKey]*apply.Peer{}, allowed: map[netip.Prefix]keyring.PublicKey{}}
		k.appear(c.Name)
		return nil
	case l == nil:
		return errors.New("no such interface")
	}
	if l.MTU = c.New.MTU; l.MTU < 1280 { // IPV6_MIN_MTU: addrconf_notify shuts IPv6 down
		k.flush(c.Name, func(a netip.Addr) bool { return !a.Is4() })
	}
	switch {
	case c.New.Up && !l.Up && !k.userspace: // wg_open
		k.sysctls["net/ipv4/conf/all/send_redirects"] = "0"
		k.sysctls["net/ipv4/conf/"+c.Name+"/send_redirects"] = "0"
	case !c.New.Up && l.Up:
		k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.link == c.Name })
	}
	l.Up = c.New.Up
	return nil
}

// removeLink takes along all that is on the link.
func (k *kernel) removeLink(name string) {
	k.flush(name, func(netip.Addr) bool { return true })
	delete(k.links, name)
	delete(k.dns, name)
	k.proxies = slices.DeleteFunc(k.proxies, func(p apply.Proxy) bool { return p.Link == name })
	for key := range k.sysctls {
		if path.Base(path.Dir(key)) == name {
			delete(k.sysctls, key)
		}
	}
}

func (k *kernel) flush(name string, which func(netip.Addr) bool) {
	l := k.links[name]
	l.addresses = slices.DeleteFunc(l.addresses, func(a apply.Address) bool { return which(a.Prefix.Addr()) })
	k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.link == name && which(r.Prefix.Addr()) })
}

func (k *kernel) setDevice(c apply.DeviceChange) error {
	l := k.links[c.Link]
	if l == nil {
		return errors.New("no such device")
	}
	if c.Old.PublicKey != c.New.PublicKey {
		l.device.PublicKey = c.New.PublicKey
		k.removePeer(l, c.New.PublicKey) // wg_set_device: no peer has the device's own key
	}
	if c.Old.ListenPort != c.New.ListenPort {
		l.device.ListenPort = c.New.ListenPort
	}
	if c.Old.FwMark != c.New.FwMark {
		l.device.FwMark = c.New.FwMark
	}
	return nil
}

func (k *kernel) removePeer(l *link, key keyring.PublicKey) {
	delete(l.peers, key)
	for prefix, owner := range l.allowed {
		if owner == key {
			delete(l.allowed, prefix)
		}
	}
}

// setPeer sends what differs. A prefix is with the last peer that claimed it.
func (k *kernel) setPeer(c apply.PeerChange) error {
	l := k.links[c.Link]
	switch {
	case l == nil:
		return errors.New("no such device")
	case c.New == nil:
		k.removePeer(l, c.Old.PublicKey)
		return nil
	}
	old := c.Old
	if old == nil {
		old = &apply.Peer{}
	}
	p := l.peers[c.New.PublicKey]
	if p == nil {
		p = &apply.Peer{PublicKey: c.New.PublicKey}
		l.peers[p.PublicKey] = p
	}
	if c.New.PSK != old.PSK {
		p.PSK = c.New.PSK
	}
	if c.New.Endpoint.IsValid() && c.New.Endpoint != old.Endpoint {
		p.Endpoint = c.New.Endpoint
	}
	if c.New.Keepalive != old.Keepalive {
		p.Keepalive = c.New.Keepalive
	}
	for _, prefix := range c.Gained() {
		l.allowed[prefix] = p.PublicKey
	}
	for _, prefix := range c.Lost() {
		delete(l.allowed, prefix)
	}
	return nil
}

func (k *kernel) setAddress(c apply.AddressChange) error {
	l := k.links[c.Link]
	switch {
	case l == nil && c.Add:
		return errors.New("no such interface")
	case l == nil:
		return nil
	case c.Add && !c.Address.Prefix.Addr().Is4() && l.MTU < 1280: // ipv6_add_dev
		return errors.New("invalid argument")
	case c.Add && slices.ContainsFunc(l.addresses, func(a apply.Address) bool { // ipv6_add_addr: EEXIST
		return a.Prefix.Addr().Is6() && a.Prefix.Addr() == c.Address.Prefix.Addr()
	}):
		return nil
	}
	l.addresses = set(l.addresses, c.Address, c.Add)
	return nil
}

// connected are the prefixes of the routes that the kernel makes with addresses.
func (l *link) connected() []netip.Prefix {
	v := tunnel.View{Remotes: map[netip.Addr]netip.Prefix{}}
	for _, a := range l.addresses {
		v.Addresses = append(v.Addresses, a.Prefix)
		v.Remotes[a.Prefix.Addr()] = a.Remote
	}
	return v.Networks()
}

// setRoute: one prefix, metric and table is one route for IPv6, whatever link
// it leads through; another link's is in the way.
func (k *kernel) setRoute(c apply.RouteChange) error {
	if c.New == nil {
		k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.link == c.Link && sameRoute(r.Route, *c.Old) })
		return nil
	}
	l := k.links[c.Link]
	if l == nil || !l.Up {
		return errors.New("network is down")
	}
	if c.New.Gateway.IsValid() && !k.reaches(c.New.Gateway) {
		return errors.New("network is unreachable")
	}
	if c.New.Prefix.Addr().Is6() && l.MTU < 1280 {
		return errors.New("no such device")
	}
	i := slices.IndexFunc(k.routes, func(r route) bool { return sameRoute(r.Route, *c.New) })
	switch {
	case i < 0:
		k.routes = append(k.routes, route{*c.New, c.Link, false})
	case k.routes[i].link != c.Link:
		return errors.New("file exists")
	default:
		k.routes[i].Route = *c.New
	}
	return nil
}

func (k *kernel) reaches(a netip.Addr) bool {
	for _, l := range k.links { // the routes that the kernel makes with addresses
		if l.Up && slices.ContainsFunc(l.connected(), func(p netip.Prefix) bool { return p.Contains(a) }) {
			return true
		}
	}
	return slices.ContainsFunc(k.routes, func(r route) bool {
		return !r.Gateway.IsValid() && r.Prefix.Contains(a)
	})
}

// leads reports whether packets to all of a prefix go into the tunnel, be it by a
// wider route of the same table.
func (k *kernel) leads(name string, p netip.Prefix, table int) bool {
	l := k.links[name]
	if l == nil || !l.Up {
		return false
	}
	if table == 254 { // main, as in apply.Route
		table = 0
	}
	best, ours := -1, false
	look := func(r netip.Prefix, link string) {
		if around(r, p) && r.Bits() >= best {
			ours = link == name || ours && r.Bits() == best
			best = r.Bits()
		}
	}
	for _, r := range k.routes {
		if r.Table == table || r.Prefix == p && r.link == name {
			look(r.Prefix, r.link)
		}
	}
	for _, n := range l.connected() {
		if table == 0 {
			look(n, name)
		}
	}
	return ours
}

func sameRoute(a, b apply.Route) bool {
	return a.Prefix == b.Prefix && a.Metric == b.Metric && a.Table == b.Table
}

// write sets a parameter, and what the kernel sets along with it.
func (k *kernel) write(key, value string) error {
	if _, ok := k.sysctls[key]; !ok {
		return fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	changed := k.sysctls[key] != value
	k.sysctls[key] = value
	switch {
	case key == "net/ipv4/ip_forward" || key == "net/ipv4/conf/all/forwarding": // one variable
		if !changed {
			break
		}
		k.spread("net/ipv4/conf/*/forwarding", value)
		k.sysctls["net/ipv4/ip_forward"] = value
		k.sysctls["net/ipv4/conf/all/accept_redirects"] = map[bool]string{true: "1", false: "0"}[value == "0"]
	case key == "net/ipv6/conf/all/forwarding":
		all, inherited := k.sysctls["net/ipv6/conf/all/force_forwarding"], k.sysctls["net/ipv6/conf/default/force_forwarding"]
		k.spread("net/ipv6/conf/*/forwarding", value)
		if _, ok := k.sysctls["net/ipv6/conf/all/force_forwarding"]; ok && value == "0" {
			k.spread("net/ipv6/conf/*/force_forwarding", "0")
			k.sysctls["net/ipv6/conf/all/force_forwarding"], k.sysctls["net/ipv6/conf/default/force_forwarding"] = all, inherited
		}
	}
	if is, _ := path.Match("net/ipv6/conf/*/forwarding", key); is && value != "0" &&
		path.Base(path.Dir(key)) != "default" {
		k.purge()
	}
	return nil
}

func (k *kernel) spread(pattern, value string) {
	for key := range k.sysctls {
		if match, _ := path.Match(pattern, key); match {
			k.sysctls[key] = value
		}
	}
}

// purge drops the default routes that were learned from advertisements, but
// where accept_ra is 2 (rt6_purge_dflt_routers).
func (k *kernel) purge() {
	k.routes = slices.DeleteFunc(k.routes, func(r route) bool {
		return r.ra && k.sysctls["net/ipv6/conf/"+r.link+"/accept_ra"] != "2"
	})
}
