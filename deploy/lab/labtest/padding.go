package labtest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const headerLength = unix.NLMSG_HDRLEN

// Padding returns the bytes of a request that should be zero and are not: reserved and
// padding fields of headers, and the padding after an attribute whose length is not a
// multiple of four. Kernels before 7 mostly ignore them, but such bytes come from the
// sender's memory.
func (r Request) Padding() (found []string) {
	b := r.Bytes
	for len(b) > 0 {
		if len(b) < headerLength || int(binary.NativeEndian.Uint32(b)) < headerLength {
			return append(found, fmt.Sprintf("no message: % x", b))
		}
		n := min(len(b), int(binary.NativeEndian.Uint32(b)))
		found = append(found, r.message(b[:n])...)
		found = append(found, notZero("behind the message", b[n:min(len(b), align(n))])...)
		b = b[min(len(b), align(n)):]
	}
	return found
}

// A span is a half-open range of bytes.
type span struct{ from, to int }

// message examines one message.
func (r Request) message(m []byte) (found []string) {
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

// header returns the length of a message's header and its reserved bytes:
// linux/genetlink.h, nfnetlink.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h.
func (r Request) header(kind uint16) (size int, reserved []span) {
	switch r.Protocol {
	case unix.NETLINK_GENERIC:
		return unix.GENL_HDRLEN, []span{{2, 4}}
	case unix.NETLINK_NETFILTER:
		return 4, nil // its last two bytes are res_id, such as the number of a queue
	case unix.NETLINK_SOCK_DIAG:
		return 56, []span{{3, 4}}
	}
	switch kind &^ 3 { // each object has four messages: new, del, get, set
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

// padding examines the padding after each attribute, and within those that consist of
// attributes or are a socket address.
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

// nested reports whether b can be read as attributes to its last byte.
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

// socketAddress examines sin_zero and sin6_flowinfo (ip(7), ipv6(7)).
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
