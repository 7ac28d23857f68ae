package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// A Packet is what is known of one. Nobody translates its destination.
type Packet struct {
	Family   Family       // [IPv4] or [IPv6]
	Protocol byte         // of IP: 6 is TCP, 17 UDP
	In, Out  Link         // the zero Link: not known, or none
	Source   netip.Prefix // it comes from there; the zero Prefix: not known where
	Dest     netip.Prefix
	SrcPort  int // 0: not known
	DestPort int
	Answer   bool  // of a connection that was let through, or the first packet of one
	Local    bool  // its destination is an address of this host
	Remote   bool  // it is not
	Direct   bool  // it was sent to Dest: nobody had to translate its destination
	Mark     *Mark // with which it leaves this host; nil: not known
}

// A Mark is a packet's, of which the bits of Mask decide how it is routed.
type Mark struct{ Value, Mask uint32 }

// A Link is an interface, by name and by number. One that is not there yet has no
// number.
type Link struct {
	Name  string
	Index int
}

// Meta keys (NFT_META_*).
const (
	metaProtocol = 1
	metaMark     = 3
	metaIIF      = 4
	metaOIF      = 5
	metaIIFNAME  = 6
	metaOIFNAME  = 7
	metaIIFTYPE  = 8
	metaOIFTYPE  = 9
	metaNFPROTO  = 15
	metaL4PROTO  = 16
	metaIIFGROUP = 21
	metaOIFGROUP = 22
	metaIIFKIND  = 26
	metaOIFKIND  = 27
)

// Of NFT_CT_*; and of NF_CT_STATE_BIT.
const (
	ctState        = 0
	ctDirection    = 1
	ctStatus       = 2
	ctMark         = 3
	bitEstablished = 1 << 1
	bitNew         = 1 << 3

	statusDestNAT = 1 << 5 // IPS_DST_NAT

	typeUnicast = 1 // RTN_UNICAST
	typeLocal   = 2 // RTN_LOCAL
)

// A packetState is a packet at one point of its way through the hooks, with what has become of
// it so far.
type packetState struct {
	packet      Packet
	rules       *Ruleset // of the host
	hook        Hook
	chainFamily Family // of the base chain

	tracked    bool // its connection is known by now
	translated bool // its destination may have been
	renamed    bool // its source may have been
	mark       bits // that it has by now
	connMark   bits // that of its connection
}

// load is what e finds in the packet.
func (s *packetState) load(e Load) bits {
	switch e.From {
	case Meta:
		return s.meta(e.Key)
	case Conntrack:
		return s.conntrack(e.Key)
	case Network:
		return s.network().slice(e.Offset, e.Len)
	case Transport:
		return s.transport().slice(e.Offset, e.Len)
	case FIB:
		switch {
		case s.packet.Local:
			return exactly(binary.NativeEndian.AppendUint32(nil, typeLocal))
		case s.packet.Direct && s.packet.Remote:
			return exactly(binary.NativeEndian.AppendUint32(nil, typeUnicast))
		}
	}
	return unknown(16)
}

func (s *packetState) meta(key uint32) bits {
	p := s.packet
	switch key {
	case metaProtocol:
		if p.Family == IPv6 {
			return exactly([]byte{0x86, 0xdd}) // ETH_P_IPV6
		}
		return exactly([]byte{0x08, 0x00})
	case metaNFPROTO:
		if s.chainFamily == NetDev {
			return exactly([]byte{byte(NetDev)})
		}
		return exactly([]byte{byte(p.Family)})
	case metaMark:
		return s.mark
	case metaL4PROTO:
		return exactly([]byte{p.Protocol})
	case metaIIF:
		return s.in().index()
	case metaOIF:
		return s.out().index()
	case metaIIFNAME:
		return s.in().name()
	case metaOIFNAME:
		return s.out().name()
	case metaIIFTYPE, metaIIFGROUP, metaIIFKIND:
		return s.rules.property(s.in(), key)
	case metaOIFTYPE, metaOIFGROUP, metaOIFKIND:
		return s.rules.property(s.out(), key-1)
	}
	return unknown(16)
}

// A Property is what else a rule may ask of a link: its group, its type of hardware (ARPHRD_*)
// and its kind, as ip(8) has it. What is zero is not known, but for the group.
type Property struct {
	Group uint32
	Type  uint16
	Kind  string
}

// AsksForLinks reports whether a rule asks for a [Property].
func (r *Ruleset) AsksForLinks() bool {
	for i := range r.Chains {
		for _, rule := range r.Chains[i].Rules {
			for _, e := range rule {
				if l, ok := e.(Load); ok && l.From == Meta && slices.Contains(linkKeys, l.Key) {
					return true
				}
			}
		}
	}
	return false
}

var linkKeys = []uint32{metaIIFTYPE, metaOIFTYPE, metaIIFGROUP, metaOIFGROUP, metaIIFKIND, metaOIFKIND}

// property is what an incoming link has for a key.
func (r *Ruleset) property(l Link, key uint32) bits {
	p, ok := r.Links[l.Index]
	switch {
	case l.Name == "" || !ok:
	case key == metaIIFTYPE && p.Type != 0:
		return exactly(binary.NativeEndian.AppendUint16(nil, p.Type))
	case key == metaIIFGROUP:
		return exactly(binary.NativeEndian.AppendUint32(nil, p.Group))
	case key == metaIIFKIND && p.Kind != "":
		kind := make([]byte, 16)
		copy(kind, p.Kind)
		return exactly(kind)
	}
	return unknown(16)
}

// out is not decided before the packet is routed.
func (s *packetState) out() Link {
	if !s.routed() {
		return Link{}
	}
	return s.packet.Out
}

// in is not kept until the packet leaves its interface.
func (s *packetState) in() Link {
	if s.hook == Egress {
		return Link{}
	}
	return s.packet.In
}

func (s *packetState) routed() bool { return s.hook != Ingress && s.hook != Prerouting }

func (l Link) name() bits {
	if l.Name == "" {
		return unknown(16)
	}
	name := make([]byte, 16) // IFNAMSIZ
	copy(name, l.Name)
	return exactly(name)
}

// index of a link that is not there yet is none that a rule could have.
func (l Link) index() bits {
	if l.Name == "" {
		return unknown(4)
	}
	n := uint32(l.Index)
	if n == 0 {
		n = ^uint32(0)
	}
	return exactly(binary.NativeEndian.AppendUint32(nil, n))
}

func (s *packetState) conntrack(key uint32) bits {
	if !s.tracked {
		return unknown(16)
	}
	switch key {
	case ctState:
		return exactly(binary.NativeEndian.AppendUint32(nil, uint32(s.packet.state())))
	case ctDirection:
		if s.packet.Answer {
			return exactly([]byte{1})
		}
		return exactly([]byte{0})
	case ctMark:
		return s.connMark
	}
	if key == ctStatus && !s.translated {
		b := unknown(4)
		binary.NativeEndian.PutUint32(b.known, statusDestNAT)
		return b
	}
	return unknown(16)
}

func (p Packet) state() int {
	if p.Answer {
		return bitEstablished
	}
	return bitNew
}

// network is the header of RFC 791 or RFC 8200. Before the packet is routed,
// the destination may be one that is translated.
func (s *packetState) network() bits {
	p := s.packet
	n, proto, source, dest := 20, 9, 12, 16
	if p.Family == IPv6 {
		n, proto, source, dest = 40, 6, 8, 24
	}
	b := unknown(n)
	b.value[proto], b.known[proto] = p.Protocol, 0xff
	if !s.renamed {
		b.write(source, p.Source)
	}
	if s.routed() || p.Direct {
		b.write(dest, p.Dest)
	}
	return b
}

// transport has the ports, as TCP and UDP both have them.
func (s *packetState) transport() bits {
	b := unknown(20)
	for i, port := range []int{s.sourcePort(), s.packet.DestPort} {
		if at := 2 * i; port != 0 {
			binary.BigEndian.PutUint16(b.value[at:], uint16(port))
			b.known[at], b.known[at+1] = 0xff, 0xff
		}
	}
	return b
}

func (s *packetState) sourcePort() int {
	if s.renamed {
		return 0
	}
	return s.packet.SrcPort
}

// write puts the bits of p that all its addresses share.
func (b bits) write(at int, p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	addr := p.Addr().AsSlice()
	for i := range addr {
		b.value[at+i] = addr[i]
		if left := p.Bits() - 8*i; left >= 8 {
			b.known[at+i] = 0xff
		} else if left > 0 {
			b.known[at+i] = 0xff << (8 - left)
		}
	}
}

func (b bits) slice(offset, n int) bits {
	out := unknown(n)
	if offset >= 0 && offset+n <= len(b.value) {
		copy(out.value, b.value[offset:])
		copy(out.known, b.known[offset:])
	}
	return out
}
