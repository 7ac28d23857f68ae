package route

import (
	"cmp"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// ObserveUnreachable reads the unreachable routes that have the metric of ours, if the
// journal has one.
func (t *Table) ObserveUnreachable(s *apply.State, entries journal.Entries) error {
	needed := false
	for resource := range entries {
		needed = needed || resource.Kind == journal.Unreachable
	}
	if !needed {
		return nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := nlmsg.Retry(func() ([]apply.Unreachable, error) { return readUnreachables(family) })
		if err != nil {
			return err
		}
		s.Unreachables = append(s.Unreachables, routes...)
	}
	return nil
}

func readUnreachables(family int) (routes []apply.Unreachable, err error) {
	err = Dump(family, func(msg *nl.RtMsg, attrs []byte) {
		if msg.Type != unix.RTN_UNREACHABLE {
			return
		}
		if r, _ := routeOf(msg, attrs); r.Metric == apply.UnreachableMetric {
			routes = append(routes, apply.Unreachable{Prefix: r.Prefix, Table: cmp.Or(r.Table, unix.RT_TABLE_MAIN)})
		}
	})
	return routes, err
}

// SetUnreachable adds or removes an unreachable route. It is no error if it is there, or
// gone, already.
func (t *Table) SetUnreachable(c apply.UnreachableChange) error {
	route := &netlink.Route{
		Dst:      nlmsg.IPNet(c.Route.Prefix),
		Table:    c.Route.Table,
		Priority: apply.UnreachableMetric,
		Type:     unix.RTN_UNREACHABLE,
		// systemd-networkd removes routes without an interface that it did not make, except
		// those of protocol kernel (ManageForeignRoutes= in networkd.conf(5)).
		Protocol: unix.RTPROT_KERNEL,
	}
	if c.Add {
		return nlmsg.Ignore(t.nl.RouteAdd(route), unix.EEXIST)
	}
	return nlmsg.Ignore(t.nl.RouteDel(route), unix.ESRCH)
}
