// Package route reads the routes of a host and changes those of a tunnel (rtnetlink(7)).
package route

import (
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// A Table reads and changes routes in all of the host's routing tables. It is not safe for
// concurrent use.
type Table struct {
	nl       *netlink.Handle
	mine     map[apply.Route]bool // the link's routes, while some are being removed
	expected int                  // an estimate, from the view
	narrow   bool                 // whether a route that was read has a small MTU
}

// New returns the routing tables of the handle's network namespace.
func New(nl *netlink.Handle) *Table { return &Table{nl: nl} }

// Expect sets about how many routes the link has, for the allocation.
func (t *Table) Expect(routes int) { t.expected = routes }

// Narrow reports whether a route that the last [Table.Observe] read has a small MTU itself.
func (t *Table) Narrow() bool { return t.narrow }

// Observe reads the routes of both families: those through the link, in any table, and of
// other interfaces those that lie within the prefixes of the view or conflict with it. Link
// is an index, or 0 for none.
func (t *Table) Observe(link int, view *tunnel.View, s *apply.State) error {
	t.narrow = false
	return t.observe(link, rangesOf(view), t.newBesides(view), s)
}

func (t *Table) observe(link int, within ranges, others *besides, s *apply.State) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if link == 0 && within.bits == nil && others == nil {
			continue
		}
		found, err := nlmsg.Retry(func() ([]foundRoute, error) {
			others.begin()
			return t.read(link, family, within, others)
		})
		if err != nil {
			return err
		}
		s.Routes = slices.Grow(s.Routes, len(found))
		for _, r := range found {
			switch {
			case r.link != link || link == 0:
				s.Elsewhere = append(s.Elsewhere, r.Route)
			case r.connected:
				s.Connected = append(s.Connected, r.Prefix)
			default:
				s.Routes = append(s.Routes, r.Route)
				if r.leased {
					s.Leased = append(s.Leased, r.Prefix)
				}
			}
		}
		others.end(&s.Hurdles)
	}
	return nil
}

// A foundRoute is a route that the kernel has.
type foundRoute struct {
	apply.Route
	link      int
	connected bool // made by the kernel itself, with an address
	leased    bool // made by a DHCP client
}

// read reads the routes of a family (rtnetlink(7)). It leaves out those of the link's own routes
// that come from router advertisements, or that the kernel made, except for the prefixes of
// addresses.
func (t *Table) read(link, family int, within ranges, others *besides) (routes []foundRoute, err error) {
	socket, err := nlmsg.OpenSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family)}})
	err = req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func(b []byte) bool {
		msg := nl.DeserializeRtMsg(b)
		t.narrow = t.narrow || isNarrow(b)
		if int(msg.Family) != family || msg.Flags&unix.RTM_F_CLONED != 0 {
			return true
		}
		r, oif := routeOf(msg, b[msg.Len():])
		found := foundRoute{r, oif, msg.Protocol == unix.RTPROT_KERNEL, msg.Protocol == unix.RTPROT_DHCP}
		switch {
		case r.Table == unix.RT_TABLE_LOCAL:
		case msg.Type == unix.RTN_UNREACHABLE && r.Metric == apply.UnreachableMetric: // see [Table.ObserveUnreachable]
		case oif != link || link == 0:
			others.add(msg, r, oif, b[msg.Len():])
			if within.contain(r.Prefix) {
				routes = append(routes, found)
			}
		case found.isSetOn(msg):
			if routes == nil {
				routes = make([]foundRoute, 0, t.expected)
			}
			routes = append(routes, found)
		}
		return true
	})
	return routes, err
}

// isSetOn reports whether somebody added the route to the link, or the kernel did for an
// address.
func (r *foundRoute) isSetOn(msg *nl.RtMsg) bool {
	return msg.Type == unix.RTN_UNICAST && msg.Protocol != unix.RTPROT_RA && (!r.connected || r.Table == 0)
}

// of reads the routes that somebody added to the link, in any table.
func (t *Table) of(link netlink.Link) ([]apply.Route, error) {
	var s apply.State
	err := t.observe(link.Attrs().Index, ranges{}, nil, &s)
	return s.Routes, err
}
