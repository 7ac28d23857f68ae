// Package nlmsg has what the netlink libraries lack: attributes that are parsed without an
// allocation for each, generic netlink, and the kernel's error messages.
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

// A Generic is a connection to one family of generic netlink, such as WireGuard's.
type Generic struct {
	socket *nl.SocketHandle
	family int
}

// OpenGeneric connects to a family by its name. It asks for the family's number with
// CTRL_CMD_GETFAMILY (linux/genetlink.h), at which the kernel loads the module.
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

// Close closes the socket.
func (g *Generic) Close() { g.socket.Close() }

// Ask sends a command with one attribute and calls each with the attributes of every
// answer.
func (g *Generic) Ask(command uint8, flags int, attr *nl.RtAttr, each func(attrs []byte)) error {
	req := nl.NewNetlinkRequest(g.family, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: g.socket}
	req.AddData(genericHeader{command, 1}) // every family so far has version 1
	req.AddData(attr)
	return req.ExecuteIter(unix.NETLINK_GENERIC, uint16(g.family), func(msg []byte) bool {
		each(msg[unix.GENL_HDRLEN:])
		return true
	})
}

// A genericHeader is a struct genlmsghdr. The library's own type, nl.Genlmsg, is two bytes
// long but four are sent: the reserved ones are whatever lies behind it in memory, and
// Linux 7 refuses a value other than zero (genl_header_check in net/netlink/genetlink.c).
type genericHeader struct{ command, version uint8 }

// Len implements [nl.NetlinkRequestData].
func (genericHeader) Len() int { return unix.GENL_HDRLEN }

// Serialize implements [nl.NetlinkRequestData].
func (h genericHeader) Serialize() []byte { return []byte{h.command, h.version, 0, 0} }

// OpenSocket opens a netlink socket with a receive timeout.
func OpenSocket(protocol int) (*nl.SocketHandle, error) {
	socket, err := nl.Subscribe(protocol) // to no group
	if err != nil {
		return nil, err
	}
	if err := socket.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
		socket.Close()
		return nil, err
	}
	return &nl.SocketHandle{Socket: socket}, nil
}

// Attributes yields the type and value of each attribute in b (netlink(7)). It ends at an
// attribute that is cut off.
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

// Word returns an integer of 1, 2, 4 or 8 bytes in the host's byte order, or 0 for any
// other length.
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

// Retry calls list again, up to nine times, if the kernel says that the list changed while
// it was read (NLM_F_DUMP_INTR).
func Retry[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 9 {
			return got, err
		}
	}
}

// Reason returns the error number with the kernel's message for it, without the words that
// the libraries of WireGuard and nftables put around them.
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

// Ignore returns nil if err is fine, the error that says that things are as wanted already.
func Ignore(err error, fine unix.Errno) error {
	if errors.Is(err, fine) {
		return nil
	}
	return err
}

// Prefix converts n. It reports false if n is not a prefix.
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

// IPNet converts p.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
