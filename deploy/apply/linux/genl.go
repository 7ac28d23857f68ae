package linux

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A generic is a connection to a family of generic netlink, WireGuard's for one.
type generic struct {
	socket *nl.SocketHandle
	family int
}

// openGeneric finds the number of a family (CTRL_CMD_GETFAMILY of
// include/uapi/linux/genetlink.h).
func openGeneric(name string) (*generic, error) {
	socket, err := openSocket(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	g := &generic{socket: socket, family: unix.GENL_ID_CTRL}
	err = g.ask(unix.CTRL_CMD_GETFAMILY, 0, nl.NewRtAttr(unix.CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(name)), func(attrs []byte) {
		for kind, value := range attributes(attrs) {
			if kind == unix.CTRL_ATTR_FAMILY_ID {
				g.family = int(word(value))
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

func (g *generic) close() { g.socket.Close() }

// ask sends a command with an attribute; the attributes of each answer go to tell.
func (g *generic) ask(command uint8, flags int, attr *nl.RtAttr, tell func(attrs []byte)) error {
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

// openSocket opens a socket for requests of our own.
func openSocket(protocol int) (*nl.SocketHandle, error) {
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
