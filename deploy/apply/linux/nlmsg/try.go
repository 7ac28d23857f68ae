package nlmsg

import (
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// The kernel gives a reason in words with an error where the socket asked for it
// (NETLINK_EXT_ACK in netlink(7)): "Nexthop has invalid gateway" is more than
// "network is unreachable".

var explaining sync.Mutex

// Try makes a change. One that the kernel refuses changed nothing; it is asked for
// once more, so that the kernel says why: the sockets of a [netlink.Handle] cannot
// ask for the reason, those of a handle without sockets, one for each request, can. So
// change makes what it gives to the library each time: that may be another one afterwards.
func Try(h *netlink.Handle, change func(*netlink.Handle) error) error {
	if err := change(h); err == nil {
		return nil
	}
	explaining.Lock()
	defer explaining.Unlock()
	nl.EnableErrorMessageReporting = true
	defer func() { nl.EnableErrorMessageReporting = false }()
	return change(new(netlink.Handle))
}
