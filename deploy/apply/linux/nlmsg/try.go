package nlmsg

import (
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// explaining guards nl.EnableErrorMessageReporting.
var explaining sync.Mutex

// Try makes a change. If the kernel refuses it, Try makes it once more on a socket that
// asks for the reason in words (NETLINK_EXT_ACK in netlink(7)): "Nexthop has invalid
// gateway" says more than "network is unreachable". The sockets of a [netlink.Handle]
// cannot ask for it, but a handle without sockets opens one for each request, which can.
//
// A refused request changed nothing, so the second one is safe. The library may modify its
// arguments: change has to make new ones each time.
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
