package apply

import "net/netip"

// An IPsecPolicy is one of the kernel's for packets that this host sends (ip-xfrm(8)). It is
// looked for after the route is found, so a packet that is routed into the tunnel may not get
// there.
type IPsecPolicy struct {
	Source, Dest      netip.Prefix
	Protocol          byte // 0: any, likewise below
	SrcPort, DestPort int
	Mark              Mark
	Limited           bool // to an interface or a user
	Priority          uint32
	Blocks            bool
	To                netip.Addr // the gateway that packets are sent to inside of others; invalid: none
}

// A sentPacket is one that this host sends. Source is none where it is not known, and Protocol
// is 0 where it is any.
type sentPacket struct {
	source            []netip.Addr
	dest              netip.Addr
	protocol          byte
	srcPort, destPort int
	mark              uint32
}

// An answer to whether a policy takes a packet.
type takes int

const (
	takesNot takes = iota
	takesSome
	takesAll
)

// takes reports whether the policy is that of a packet (xfrm_selector_match).
func (i *IPsecPolicy) takes(p *sentPacket) takes {
	some := i.Limited
	for _, c := range []struct {
		wants  bool // the policy wants a certain value
		known  bool
		agrees bool
	}{
		{true, true, i.Dest.Contains(p.dest)},
		{true, true, p.mark&i.Mark.Mask == i.Mark.Value},
		{i.Protocol != 0, p.protocol != 0, i.Protocol == p.protocol},
		{i.SrcPort != 0, p.srcPort != 0, i.SrcPort == p.srcPort},
		{i.DestPort != 0, p.destPort != 0, i.DestPort == p.destPort},
	} {
		switch {
		case !c.wants:
		case !c.known:
			some = true
		case !c.agrees:
			return takesNot
		}
	}
	inside := 0
	for _, a := range p.source {
		if i.Source.Contains(a) {
			inside++
		}
	}
	switch {
	case inside == 0 && len(p.source) > 0:
		return takesNot
	case some, i.Source.Bits() > 0 && (len(p.source) == 0 || inside < len(p.source)):
		return takesSome
	}
	return takesAll
}

// policyOf returns the policy that takes all such packets, or nil. The one with the lowest
// priority counts, and the older one of two.
func policyOf(list []IPsecPolicy, p *sentPacket) *IPsecPolicy {
	for i := range list {
		switch list[i].takes(p) {
		case takesAll:
			return &list[i]
		case takesSome:
			return nil // what becomes of such a packet is not certain
		}
	}
	return nil
}
