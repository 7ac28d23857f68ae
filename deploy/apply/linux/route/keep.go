package route

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// Keep calls do, and then adds the routes of the link that were lost by it.
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

// missing returns the routes that only a has. Those through a gateway have to be added
// after the others, which make the gateway reachable.
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
