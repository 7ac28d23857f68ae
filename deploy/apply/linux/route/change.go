package route

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring/fault"
)

// Forget drops the list of the link's routes that removals use. Changes that are made
// together read it once.
func (t *Table) Forget() { t.mine = nil }

// Set adds, replaces or removes a route through a link.
func (t *Table) Set(link netlink.Link, c apply.RouteChange) error {
	if c.New == nil {
		return t.remove(link, c.Old)
	}
	if c.Old != nil {
		return nlmsg.Try(t.nl, func(h *netlink.Handle) error { return h.RouteReplace(rtnl(link, c.New)) })
	}
	err := nlmsg.Try(t.nl, func(h *netlink.Handle) error { return h.RouteAdd(rtnl(link, c.New)) })
	if errors.Is(err, unix.EEXIST) && !t.has(link, c.New) {
		return fault.New("there is already a route to", c.New.Prefix.String(),
			"another interface has one of the same metric",
			"give this tunnel's routes another: metric = 512 for the host in the tunnel file")
	}
	return nlmsg.Ignore(err, unix.EEXIST)
}

// remove removes the route of exactly this metric. In a request to delete, the kernel takes
// metric 0 for any metric: if this route is gone, it would delete another one of the same
// prefix.
func (t *Table) remove(link netlink.Link, r *apply.Route) error {
	route := rtnl(link, r)
	switch {
	case r.Metric == 0 && !r.Prefix.Addr().Is4():
		route.Priority = 1024 // IP6_RT_PRIO_USER
	case r.Metric == 0:
		if err := t.list(link); err != nil || !t.mine[*r] {
			return err
		}
		delete(t.mine, *r)
	}
	return nlmsg.Ignore(nlmsg.Try(t.nl, func(h *netlink.Handle) error { return h.RouteDel(route) }), unix.ESRCH)
}

// list fills t.mine, once for all changes that are made together.
func (t *Table) list(link netlink.Link) error {
	if t.mine != nil {
		return nil
	}
	routes, err := t.of(link)
	if err != nil {
		return err
	}
	t.mine = make(map[apply.Route]bool, len(routes))
	for _, r := range routes {
		t.mine[r] = true
	}
	return nil
}

func (t *Table) has(link netlink.Link, want *apply.Route) bool {
	routes, err := t.of(link)
	return err == nil && slices.Contains(routes, *want)
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
