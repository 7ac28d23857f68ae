package route

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// Keep puts back the routes of a link that went with what do takes away from it.
func (t *Table) Keep(link netlink.Link, do func() error) error {
	before, err := t.of(link)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := t.of(link)
	if err != nil {
		return err
	}
	direct, gateway := missing(before, after)
	for _, r := range append(direct, gateway...) {
		err := nlmsg.Try(t.nl, func(h *netlink.Handle) error { return h.RouteAdd(rtnl(link, &r)) })
		if err := nlmsg.Ignore(err, unix.EEXIST); err != nil {
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
