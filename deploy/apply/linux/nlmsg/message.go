// Package nlmsg is what talking netlink takes beyond its libraries: attributes that are
// read without a value for each, generic netlink, and the kernel's reasons in words.
package nlmsg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"

	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Generic is a connection to a family of generic netlink, WireGuard's for one.
type Generic struct {
	socket *nl.SocketHandle
	family int
}

// OpenGeneric finds the number of a family (CTRL_CMD_GETFAMILY of
// include/uapi/linux/genetlink.h).
func OpenGeneric(name string) (*Generic, error) {
	socket, err := OpenSocket(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	g := &Generic{socket: socket, family: unix.GENL_ID_CTRL}
	err = g.Ask(unix.CTRL_CMD_GETFAMILY, 0, nl.NewRtAttr(unix.CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(name)),
		func(attrs []byte) {
			for kind, value := range Attributes(attrs) {
				if kind == unix.CTRL_ATTR_FAMILY_ID {
					g.family = int(Word(value))
				}
			}
		})
	if err == nil && g.family == unix.GENL_ID_CTRL {
		err = fmt.Errorf("generic netlink tells no number of %s", name)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return g, nil
}

func (g *Generic) Close() { g.socket.Close() }

// Ask sends a command with an attribute; the attributes of each answer go to tell.
func (g *Generic) Ask(command uint8, flags int, attr *nl.RtAttr, tell func(attrs []byte)) error {
	req := nl.NewNetlinkRequest(g.family, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: g.socket}
	req.AddData(genericHeader{command, 1}) // version: all of them have the first
	req.AddData(attr)
	return req.ExecuteIter(unix.NETLINK_GENERIC, uint16(g.family), func(msg []byte) bool {
		tell(msg[unix.GENL_HDRLEN:])
		return true
	})
}

// A genericHeader is a struct genlmsghdr. The library's own, nl.Genlmsg, is two
// bytes long and sent as four: in the place of the reserved ones goes whatever
// lies behind it in memory, and Linux 7 refuses what is not zero
// (genl_header_check in net/netlink/genetlink.c).
type genericHeader struct{ command, version uint8 }

// Len implements [nl.NetlinkRequestData].
func (genericHeader) Len() int { return unix.GENL_HDRLEN }

// Serialize implements [nl.NetlinkRequestData].
func (h genericHeader) Serialize() []byte { return []byte{h.command, h.version, 0, 0} }

// OpenSocket opens a socket for requests of our own.
func OpenSocket(protocol int) (*nl.SocketHandle, error) {
	socket, err := nl.Subscribe(protocol) // to nothing
	if err != nil {
		return nil, err
	}
	if err := socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		socket.Close()
		return nil, err
	}
	return &nl.SocketHandle{Socket: socket}, nil
}

// Attributes yields those that b is made of (netlink(7)), and ends where it is
// cut off.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofNlAttr || n > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofNlAttr:n]) {
				return
			}
			b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
		}
	}
}

// Word reads a number of 1, 2, 4 or 8 bytes; any other is 0.
func Word(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

// Retry lists again where the kernel says that the list changed meanwhile.
func Retry[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 9 {
			return got, err
		}
	}
}

// Reason puts what the kernel says of an error behind it, where WireGuard's or
// nftables' library has it among its own words.
func Reason(err error) error {
	var refused *mdlayher.OpError
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Message == "":
		return refused.Err
	}
	return fmt.Errorf("%w: %s", refused.Err, refused.Message)
}

// Ignore forgives the error that says that the thing is as wanted already.
func Ignore(err error, fine unix.Errno) error {
	if errors.Is(err, fine) {
		return nil
	}
	return err
}

// Prefix converts; it reports false for what is no prefix.
func Prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if ok && len(n.Mask) == net.IPv4len {
		addr = addr.Unmap()
	}
	ones, bits := n.Mask.Size()
	return netip.PrefixFrom(addr, ones), ok && bits == addr.BitLen()
}

// IPNet converts.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
