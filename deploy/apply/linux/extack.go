package linux

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// The kernel gives a reason in words with an error where the socket asked for it
// (NETLINK_EXT_ACK in netlink(7)): "Nexthop has invalid gateway" is more than
// "network is unreachable".

var explaining sync.Mutex

// try makes a change. One that the kernel refuses changed nothing; it is asked for
// once more, so that the kernel says why: the sockets of a [netlink.Handle] cannot
// ask for the reason, those of a handle without sockets, one for each request, can.
func (k *Kernel) try(change func(*netlink.Handle) error) error {
	if err := change(k.nl); err == nil {
		return nil
	}
	explaining.Lock()
	defer explaining.Unlock()
	nl.EnableErrorMessageReporting = true
	defer func() { nl.EnableErrorMessageReporting = false }()
	return change(new(netlink.Handle))
}

// openNFT opens nftables, and asks for reasons.
func openNFT() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *mdlayher.Conn) error {
		return c.SetOption(mdlayher.ExtendedAcknowledge, true)
	}))
}

// reason puts what the kernel says of an error behind it, where WireGuard's or
// nftables' library has it among its own words.
func reason(err error) error {
	var refused *mdlayher.OpError
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Message == "":
		return refused.Err
	}
	return fmt.Errorf("%w: %s", refused.Err, refused.Message)
}
