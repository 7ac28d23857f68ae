package firewall

import "encoding/binary"

// match evaluates one of iptables' own matches. Their data are structures of the kernel
// (include/uapi/linux/netfilter/xt_*.h), in the byte order of the host.
func (s *packetState) match(m Match) truth {
	d := m.Data
	u16 := func(at int) int { return int(binary.NativeEndian.Uint16(d[at:])) }
	switch {
	case m.Name == "comment":
		return yes
	case m.Name == "conntrack" && m.Revision >= 2 && len(d) >= 154:
		return s.ofConntrack(u16)
	case m.Name == "state" && len(d) >= 4:
		return s.inState(int(binary.NativeEndian.Uint32(d)), false)
	case (m.Name == "udp" || m.Name == "tcp") && len(d) >= 9:
		return s.ports(m.Name, d, u16)
	case m.Name == "multiport" && m.Revision == 1 && len(d) >= 48:
		return s.multiport(d, u16)
	case m.Name == "addrtype" && len(d) >= 8:
		return s.addrtype(m.Revision, d, u16)
	}
	return s.hasMark(m)
}

// ofConntrack is xt_conntrack_mtinfo2 and 3: match_flags, invert_flags, state_mask.
func (s *packetState) ofConntrack(u16 func(int) int) truth {
	const state, alias = 1, 1 << 13 // XT_CONNTRACK_STATE, and the same asked for as "-m state"
	if u16(146)&^alias != state {
		return maybe
	}
	return s.inState(u16(150), u16(148)&1 != 0)
}

// inState reports whether the connection is in one of the states of mask. It is not known
// whether its source is translated.
func (s *packetState) inState(mask int, invert bool) truth {
	const source, dest = 1 << 6, 1 << 7 // XT_CONNTRACK_STATE_SNAT, _DNAT
	if mask &^= dest; !s.tracked || mask&source != 0 {
		return maybe
	}
	return of(mask&s.packet.state() != 0 != invert)
}

// ports are xt_udp's and xt_tcp's: two source ports, two destination ports, and
// for TCP an option and flags; what is inverted comes last.
func (s *packetState) ports(name string, d []byte, u16 func(int) int) truth {
	inverted := d[8]
	if name == "tcp" {
		if len(d) < 12 || d[8] != 0 || d[9] != 0 { // option, flags
			return maybe
		}
		inverted = d[11]
	}
	from, to := inPorts(s.sourcePort(), u16(0), u16(2)), inPorts(s.packet.DestPort, u16(4), u16(6))
	if inverted&1 != 0 {
		from = from.not()
	}
	if inverted&2 != 0 {
		to = to.not()
	}
	return min(from, to)
}

// addrtype is xt_addrtype_info_v1: types of the source, types of the destination, and
// flags; in the first revision there are two words instead, which invert.
func (s *packetState) addrtype(revision int, d []byte, u16 func(int) int) truth {
	const local, invertDest = 1 << 2, 1 << 1 // XT_ADDRTYPE_LOCAL, _INVERT_DEST
	source, dest, flags := u16(0), u16(2), binary.NativeEndian.Uint32(d[4:])
	if revision == 0 {
		if len(d) < 12 || flags != 0 {
			return maybe
		}
		flags = invertDest * min(binary.NativeEndian.Uint32(d[8:]), 1)
	}
	known := s.packet.Local || s.packet.Remote && dest == local
	if source != 0 || dest == 0 || !known || flags&^invertDest != 0 {
		return maybe
	}
	return of((s.packet.Local && dest&local != 0) != (flags == invertDest))
}

func inPorts(port, first, last int) truth {
	switch {
	case first == 0 && last == 0xffff:
		return yes
	case port == 0:
		return maybe
	}
	return of(port >= first && port <= last)
}

// multiport is xt_multiport_v1: which ports, how many, fifteen of them, and for each
// whether it begins a range.
func (s *packetState) multiport(d []byte, u16 func(int) int) truth {
	const destination = 1 // XT_MULTIPORT_DESTINATION
	if d[0] != destination || s.packet.DestPort == 0 {
		return maybe
	}
	t := no
	for i := 0; i < int(d[1]) && i < 15; i++ {
		first := u16(2 + 2*i)
		last := first
		if d[32+i] != 0 && i < 14 {
			i++
			last = u16(2 + 2*i)
		}
		t = max(t, inPorts(s.packet.DestPort, first, last))
	}
	if d[47] != 0 {
		t = t.not()
	}
	return t
}
