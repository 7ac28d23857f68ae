package labtest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const headerLength = unix.NLMSG_HDRLEN

// Foreign returns what is not zero in a request where a byte has no meaning: in
// reserved and padding fields of the headers, and behind an attribute that does
// not end at four bytes. Kernels before 7 mostly do not look; what is there came
// out of the sender's memory.
func (r Request) Foreign() (found []string) {
	b := r.Bytes
	for len(b) > 0 {
		if len(b) < headerLength || int(binary.NativeEndian.Uint32(b)) < headerLength {
			return append(found, fmt.Sprintf("no message: % x", b))
		}
		n := min(len(b), int(binary.NativeEndian.Uint32(b)))
		found = append(found, r.foreign(b[:n])...)
		found = append(found, notZero("behind the message", b[n:min(len(b), align(n))])...)
		b = b[min(len(b), align(n)):]
	}
	return found
}

// A span is the bytes from one to before another.
type span struct{ from, to int }

// foreign looks at one message.
func (r Request) foreign(m []byte) (found []string) {
	kind, body := binary.NativeEndian.Uint16(m[4:]), m[headerLength:]
	size, reserved := r.header(kind)
	for _, s := range reserved {
		if s.to <= len(body) {
			found = append(found, notZero(fmt.Sprintf("message type %d, bytes %d to %d of its header", kind, s.from, s.to),
				body[s.from:s.to])...)
		}
	}
	if len(body) < size {
		return found
	}
	for _, f := range padding(body[size:]) {
		found = append(found, fmt.Sprintf("message type %d, %s", kind, f))
	}
	return found
}

// header returns the length of the header of a message, and what has no meaning in
// it: linux/genetlink.h, nfnetlink.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h.
func (r Request) header(kind uint16) (size int, reserved []span) {
	switch r.Protocol {
	case unix.NETLINK_GENERIC:
		return unix.GENL_HDRLEN, []span{{2, 4}}
	case unix.NETLINK_NETFILTER:
		return 4, nil // the last two bytes are the number of a queue or a subsystem
	case unix.NETLINK_SOCK_DIAG:
		return 56, []span{{3, 4}}
	}
	switch kind &^ 3 { // four messages an object: new, del, get, set
	case unix.RTM_NEWLINK:
		return unix.SizeofIfInfomsg, []span{{1, 2}}
	case unix.RTM_NEWADDR:
		return unix.SizeofIfAddrmsg, nil
	case unix.RTM_NEWNEIGH:
		return unix.SizeofNdMsg, []span{{1, 4}}
	case unix.RTM_NEWRULE:
		return 12, []span{{5, 7}}
	case unix.RTM_NEWQDISC, unix.RTM_NEWTCLASS, unix.RTM_NEWTFILTER:
		return 20, []span{{1, 4}}
	}
	return unix.SizeofRtMsg, nil
}

// padding looks behind each attribute, and into those that are attributes all
// through, or an address of a socket.
func padding(b []byte) (found []string) {
	for len(b) >= unix.SizeofNlAttr {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofNlAttr || n > len(b) {
			return found
		}
		value := b[unix.SizeofNlAttr:n]
		found = append(found, notZero(fmt.Sprintf("behind attribute %d", kind&^unix.NLA_F_NESTED),
			b[n:min(len(b), align(n))])...)
		found = append(found, socketAddress(value)...)
		if kind&unix.NLA_F_NESTED != 0 || nested(value) {
			found = append(found, padding(value)...)
		}
		b = b[min(len(b), align(n)):]
	}
	return found
}

// nested reports whether a value reads as attributes to its last byte.
func nested(b []byte) bool {
	if len(b) < 2*unix.SizeofNlAttr {
		return false
	}
	for len(b) >= unix.SizeofNlAttr {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofNlAttr || n > len(b) || kind == 0 || kind > 255 {
			return false
		}
		b = b[min(len(b), align(n)):]
	}
	return len(b) == 0
}

// socketAddress looks at sin_zero and sin6_flowinfo (ip(7), ipv6(7)).
func socketAddress(b []byte) []string {
	switch {
	case len(b) == unix.SizeofSockaddrInet4 && binary.NativeEndian.Uint16(b) == unix.AF_INET:
		return notZero("at the end of a sockaddr_in", b[8:])
	case len(b) == unix.SizeofSockaddrInet6 && binary.NativeEndian.Uint16(b) == unix.AF_INET6:
		return notZero("sin6_flowinfo", b[4:8])
	}
	return nil
}

func notZero(where string, b []byte) []string {
	for _, c := range b {
		if c != 0 {
			return []string{fmt.Sprintf("%s: % x", where, b)}
		}
	}
	return nil
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
