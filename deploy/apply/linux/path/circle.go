package path

import (
	"net/netip"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// A Next says where a tunnel's device sends what is routed into it for an address. It
// reports false for a link that is no tunnel, or if the device sends it nowhere.
type Next func(link string, to netip.Addr) (Hop, bool)

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
	s.Unrouted, s.Looped = f.unrouted, f.looped
	for a, path := range f.paths {
		circle, err := circle(path.Link, a, links, next)
		if err != nil {
			return err
		}
		if circle == nil {
			continue
		}
		if s.Circles == nil {
			s.Circles = map[netip.Addr][]string{}
		}
		s.Circles[a] = circle
		if s.Paths != nil {
			s.Paths[a] = apply.Path{} // no packet passes there, of any size
		}
	}
	return nil
}

// circle returns the other tunnels that a packet to an address passes, from link on, until
// it is to enter this one again; nil if it leaves the host.
func circle(link string, to netip.Addr, links linksOut, next Next) (through []string, err error) {
	const most = 8
	for range most {
		if kind := links.kindOf(link); kind != "wireguard" && kind != "tun" {
			return nil, nil
		}
		hop, ok := next(link, to)
		if !ok {
			return nil, nil
		}
		through, to = append(through, link), hop.To.Addr()
		f, err := ask([]netip.AddrPort{hop.To}, sender{hop.Mark, hop.Port}, links)
		if err != nil {
			return nil, err
		}
		if f.looped[to] {
			return through, nil
		}
		link = f.paths[to].Link
	}
	return nil, nil // one of the others
}

func (l linksOut) kindOf(name string) string {
	for _, link := range l.all {
		if link.name == name {
			return link.kind
		}
	}
	return ""
}
