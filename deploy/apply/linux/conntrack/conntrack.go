// Package conntrack adds entries to the kernel's connection tracking table for TCP
// connections that were opened before it began to track.
package conntrack

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	nl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// A session is an open TCP connection that was made to this host, such as the ssh session
// in which an apply runs.
type session struct{ client, server netip.AddrPort }

// States of a socket (enum in net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
	tcpListen      = 10
)

// Remember adds an entry for each open TCP connection to this host, of the address families
// that f is for. Until something uses connection tracking it knows no connections, and it
// takes whoever sends the next packet for the one who opened the connection. That would
// often be this host, with the output of an apply: its packets would then be routed into
// the tunnel.
//
// Errors are ignored: without an entry all is well if the client sends the next packet.
func Remember(f *apply.Filter) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for _, s := range openSessions(tcpSockets(), f) {
		conn.Execute(rememberMessage(s))
	}
}

// openSessions returns the open connections to ports that a socket here listens on, other
// than those to INSIDE addresses (f.Guard).
func openSessions(sockets []*nl.Socket, f *apply.Filter) (list []session) {
	listens := map[uint16]bool{}
	for _, s := range sockets {
		listens[s.ID.SourcePort] = listens[s.ID.SourcePort] || s.State == tcpListen
	}
	for _, s := range sockets {
		here, ok := netip.AddrFromSlice(s.ID.Source)
		there, also := netip.AddrFromSlice(s.ID.Destination)
		here, there = here.Unmap(), there.Unmap()
		open := (s.State == tcpEstablished || s.State == tcpCloseWait) && listens[s.ID.SourcePort]
		policyRouted := here.Is4() && f.IPv4 || here.Is6() && f.IPv6
		if ok && also && open && policyRouted && !here.IsLoopback() && !slices.Contains(f.Guard, here) {
			list = append(list, session{netip.AddrPortFrom(there, s.ID.DestinationPort),
				netip.AddrPortFrom(here, s.ID.SourcePort)})
		}
	}
	return list
}

// tcpSockets returns the TCP sockets of both families, or of the families that can be read.
func tcpSockets() (all []*nl.Socket) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if found, err := nl.SocketDiagTCP(family); err == nil {
			all = append(all, found...)
		}
	}
	return all
}

// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig, ctaTupleReply, ctaStatus, ctaProtoInfo, ctaTimeout = 1, 2, 3, 4, 7

	ctaTupleIP, ctaTupleProto           = 1, 2
	ctaProtoNum, ctaSrcPort, ctaDstPort = 1, 2, 3

	ctaProtoInfoTCP                                    = 1
	ctaTCPState, ctaTCPFlagsOriginal, ctaTCPFlagsReply = 1, 4, 5
)

// rememberMessage returns a request for the entry that connection tracking itself makes of
// a connection whose beginning it has not seen (tcp_new in nf_conntrack_proto_tcp.c, with
// tcp_loose). The windows are not known, so the flag BE_LIBERAL lets packets outside of
// them pass.
func rememberMessage(s session) netlink.Message {
	const (
		status      = 1<<1 | 1<<2 | 1<<3              // IPS_SEEN_REPLY, _ASSURED, _CONFIRMED
		established = 3                               // TCP_CONNTRACK_ESTABLISHED
		lenient     = 0x02 | 0x08                     // IP_CT_TCP_FLAG_SACK_PERM, _BE_LIBERAL
		timeout     = 5 * 24 * 60 * 60                // seconds: of nf_conntrack_tcp_timeout_established
		create      = unix.NFNL_SUBSYS_CTNETLINK << 8 // and IPCTNL_MSG_CT_NEW
	)
	family := byte(unix.AF_INET6)
	if s.client.Addr().Is4() {
		family = unix.AF_INET
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Nested(ctaTupleOrig, tupleOf(s.client, s.server))
	ae.Nested(ctaTupleReply, tupleOf(s.server, s.client))
	ae.Uint32(ctaStatus, status)
	ae.Uint32(ctaTimeout, timeout)
	ae.Nested(ctaProtoInfo, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(ctaProtoInfoTCP, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(ctaTCPState, established)
			ae.Bytes(ctaTCPFlagsOriginal, []byte{lenient, lenient}) // and their mask
			ae.Bytes(ctaTCPFlagsReply, []byte{lenient, lenient})
			return nil
		})
		return nil
	})
	attributes, _ := ae.Encode() // numbers cannot fail
	return netlink.Message{
		Header: netlink.Header{Type: create, Flags: netlink.Request | netlink.Create | netlink.Excl | netlink.Acknowledge},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attributes...),
	}
}

// tupleOf encodes one direction of a connection as a CTA_TUPLE.
func tupleOf(from, to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	source, dest := uint16(1), uint16(2) // CTA_IP_V4_SRC, _DST
	if from.Addr().Is6() {
		source, dest = 3, 4
	}
	return func(ae *netlink.AttributeEncoder) error {
		ae.ByteOrder = binary.BigEndian
		ae.Nested(ctaTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(source, from.Addr().AsSlice())
			ae.Bytes(dest, to.Addr().AsSlice())
			return nil
		})
		ae.Nested(ctaTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			ae.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
			ae.Uint16(ctaSrcPort, from.Port())
			ae.Uint16(ctaDstPort, to.Port())
			return nil
		})
		return nil
	}
}
