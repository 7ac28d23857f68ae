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

// A Table reads and changes the routes of the host's tables. It is for one goroutine.
type Table struct {
	nl       *netlink.Handle
	mine     map[apply.Route]bool // of the link, while routes are being removed
	expected int                  // about so many routes, as in the view
	narrow   bool                 // a route that was read says that its path is narrow
}

// New returns the tables that a handle leads to.
func New(nl *netlink.Handle) *Table { return &Table{nl: nl} }

// Expect says how many routes a link has, about, so that there is room for them.
func (t *Table) Expect(routes int) { t.expected = routes }

// Narrow reports whether a route that was read by the last [Table.Observe] says by
// itself that its path is narrow.
func (t *Table) Narrow() bool { return t.narrow }

// Observe reads the routes of both families in one look: those through the link, in any
// table, and of other interfaces what lies within the prefixes of the view, or is in the
// way of it. Link 0 is none.
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
			}
		}
		others.end(&s.Hurdles)
	}
	return nil
}

// A foundRoute is a route of the kernel's.
type foundRoute struct {
	apply.Route
	link      int
	connected bool // made by the kernel itself, with an address
}

// read reads the routes of a family (rtnetlink(7)). Of the link's own it
// leaves out what routers advertised, and what the kernel made, but for the
// prefixes of addresses.
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
		found := foundRoute{r, oif, msg.Protocol == unix.RTPROT_KERNEL}
		switch {
		case r.Table == unix.RT_TABLE_LOCAL:
		case msg.Type == unix.RTN_UNREACHABLE && r.Metric == apply.UnreachableMetric: // see [Table.ObserveUnreachable]
		case oif != link || link == 0:
			others.add(msg, r, oif)
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

// isSetOn reports whether somebody put the route on the link, or its address did.
func (r *foundRoute) isSetOn(msg *nl.RtMsg) bool {
	return msg.Type == unix.RTN_UNICAST && msg.Protocol != unix.RTPROT_RA && (!r.connected || r.Table == 0)
}

// of reads the routes that somebody put on the link, in any table.
func (t *Table) of(link netlink.Link) ([]apply.Route, error) {
	var s apply.State
	err := t.observe(link.Attrs().Index, ranges{}, nil, &s)
	return s.Routes, err
}
