package path

import (
	"net"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// A Next reads a tunnel's device, and says where that sends what is routed into it for an
// address. It reports false for a link that is no tunnel, or if the device sends it nowhere.
type Next func(link string) func(to netip.Addr) (Hop, bool)

// once reads each device once: it may have many peers, or not answer.
func (n Next) once() Next {
	read := map[string]func(netip.Addr) (Hop, bool){}
	return func(link string) func(netip.Addr) (Hop, bool) {
		if read[link] == nil {
			read[link] = n(link)
		}
		return read[link]
	}
}

// A Hop is how a device sends encrypted packets to a peer.
type Hop struct {
	To   netip.AddrPort
	Mark uint32
	Port int
}

// observeSome finds to which of the first peers nothing is sent.
func observeSome(s *apply.State, view *tunnel.View, from sender, links linksOut, next Next) error {
	f, err := ask(someOutside(s, view), from, links)
	if err != nil {
		return err
	}
	next = next.once()
	s.Unrouted, s.Looped = f.unrouted, f.looped
	for a, path := range f.paths {
		if a.Is4() && translates(path.Link, links) {
			if s.Translated == nil {
				s.Translated = map[netip.Addr]string{}
			}
			s.Translated[a] = path.Link
		}
		circle, err := circle(path.Link, a, links, next)
		if err != nil {
			return err
		}
		if circle == nil {
			continue
		}
		if s.Circles == nil {
			s.Circles = map[netip.Addr]apply.Circle{}
		}
		s.Circles[a] = *circle
		if s.Paths != nil {
			s.Paths[a] = apply.Path{} // no packet passes there, of any size
		}
	}
	return nil
}

// translators are the addresses that a host has on the interface by which its IPv4 packets
// become IPv6 ones (RFC 7335).
var translators = netip.MustParsePrefix("192.0.0.0/29")

// translates reports whether a program makes IPv6 packets of what is sent into the link, as
// clatd(8) has it: these come back by it, to be forwarded.
func translates(name string, links linksOut) bool {
	if links.kindOf(name) != "tun" {
		return false
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return false
	}
	addrs, _ := link.Addrs()
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && translators.Contains(p.Addr())
	})
}

// circle returns the other tunnels that a packet to an address passes, from link on, until
// it is to enter this one again; nil if it leaves the host.
func circle(link string, to netip.Addr, links linksOut, next Next) (*apply.Circle, error) {
	const most = 8
	var c apply.Circle
	for range most {
		hop, ok := links.next(link, to, next)
		if !ok {
			return nil, nil
		}
		c.Through, to = append(c.Through, link), hop.To.Addr()
		f, err := ask([]netip.AddrPort{hop.To}, sender{hop.Mark, hop.Port}, links)
		if err != nil {
			return nil, err
		}
		if f.looped[to] {
			c.To = to
			return &c, nil
		}
		link = f.paths[to].Link
	}
	return nil, nil // one of the others
}

// next says where a link sends what is routed into it, if it is a tunnel.
func (l linksOut) next(name string, to netip.Addr, wireguard Next) (hop Hop, ok bool) {
	for _, link := range l.all {
		switch {
		case link.name != name:
		case link.carrier.To.IsValid():
			return link.carrier, true
		case link.kind == "wireguard" || link.kind == "tun":
			return wireguard(name)(to)
		}
	}
	return hop, false
}

func (l linksOut) kindOf(name string) string {
	for _, link := range l.all {
		if link.name == name {
			return link.kind
		}
	}
	return ""
}
