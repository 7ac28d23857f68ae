package linux

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring/fault"
)

func (k *Kernel) setAddress(c apply.AddressChange) error {
	link, err := k.link(c.Link)
	if err != nil || link == nil {
		return errIfMissing(err, c.Link, c.Add)
	}
	addr := &netlink.Addr{IPNet: nlmsg.IPNet(c.Prefix)}
	switch {
	case c.Add:
		return nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.AddrAdd(link, addr) }), unix.EEXIST)
	case c.Prefix.Addr().Is4():
		return k.removeIPv4(link, addr)
	}
	// Where the link has no IPv6 at all it is ENXIO (inet6_addr_del).
	return nlmsg.Ignore(nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.AddrDel(link, addr) }), unix.EADDRNOTAVAIL), unix.ENXIO)
}

// removeIPv4 keeps what the kernel would take along with an address: others of
// the same prefix (__inet_del_ifa, but for promote_secondaries), and with the
// link's last one all its IPv4 routes (fib_disable_ip).
func (k *Kernel) removeIPv4(link netlink.Link, addr *netlink.Addr) (err error) {
	putBack, err := k.sys.PromoteSecondaries(link.Attrs().Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, putBack()) }()
	var before, after apply.State
	if err := k.observeRoutes(link, &before); err != nil {
		return err
	}
	if err := nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.AddrDel(link, addr) }), unix.EADDRNOTAVAIL); err != nil {
		return err
	}
	if err := k.observeRoutes(link, &after); err != nil {
		return err
	}
	direct, gateway := missing(before.Routes, after.Routes)
	for _, r := range append(direct, gateway...) {
		if err := nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.RouteAdd(rtnl(link, &r)) }), unix.EEXIST); err != nil {
			return err
		}
	}
	return nil
}

// missing returns what only a has. A route with a gateway needs the others.
func missing(a, b []apply.Route) (direct, gateway []apply.Route) {
	has := make(map[apply.Route]bool, len(b))
	for _, r := range b {
		has[r] = true
	}
	for _, r := range a {
		switch {
		case has[r]:
		case r.Gateway.IsValid():
			gateway = append(gateway, r)
		default:
			direct = append(direct, r)
		}
	}
	return direct, gateway
}

func (k *Kernel) setRoute(c apply.RouteChange) error {
	link, err := k.link(c.Link)
	if err != nil || link == nil {
		return errIfMissing(err, c.Link, c.New != nil)
	}
	if c.New == nil {
		return k.removeRoute(link, c.Old)
	}
	if c.Old != nil {
		return nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.RouteReplace(rtnl(link, c.New)) })
	}
	err = nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.RouteAdd(rtnl(link, c.New)) })
	if errors.Is(err, unix.EEXIST) && !k.hasRoute(link, c.New) {
		return fault.New("there is already a route to", c.New.Prefix.String(),
			"another interface has one of the same metric",
			"give this tunnel's routes another: metric = 512 for the host in the tunnel file")
	}
	return nlmsg.Ignore(err, unix.EEXIST)
}

// removeRoute removes the route of exactly this metric. The kernel reads 0 as
// any: it would take another route of the same prefix, were this one gone.
func (k *Kernel) removeRoute(link netlink.Link, r *apply.Route) error {
	route := rtnl(link, r)
	switch {
	case r.Metric == 0 && !r.Prefix.Addr().Is4():
		route.Priority = 1024 // IP6_RT_PRIO_USER
	case r.Metric == 0:
		if err := k.listRoutes(link); err != nil || !k.routes[*r] {
			return err
		}
		delete(k.routes, *r)
	}
	return nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.RouteDel(route) }), unix.ESRCH)
}

// listRoutes fills k.routes, once for all changes that are made together.
func (k *Kernel) listRoutes(link netlink.Link) error {
	if k.routes != nil {
		return nil
	}
	var s apply.State
	if err := k.observeRoutes(link, &s); err != nil {
		return err
	}
	k.routes = make(map[apply.Route]bool, len(s.Routes))
	for _, r := range s.Routes {
		k.routes[r] = true
	}
	return nil
}

func (k *Kernel) hasRoute(link netlink.Link, want *apply.Route) bool {
	var s apply.State
	if k.observeRoutes(link, &s) != nil {
		return false
	}
	for _, r := range s.Routes {
		if r == *want {
			return true
		}
	}
	return false
}

func rtnl(link netlink.Link, r *apply.Route) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       nlmsg.IPNet(r.Prefix),
		Priority:  r.Metric,
		Table:     r.Table,
		Protocol:  unix.RTPROT_STATIC,
		Scope:     netlink.SCOPE_LINK,
	}
	if r.Gateway.IsValid() {
		route.Gw = r.Gateway.AsSlice()
		route.Scope = netlink.SCOPE_UNIVERSE
	}
	if !r.Prefix.Addr().Is4() {
		route.Scope = netlink.SCOPE_UNIVERSE // IPv6 routes have no other
	}
	return route
}
