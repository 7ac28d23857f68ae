package device

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// followRoutes has the device choose its source addresses anew when the host's
// routes change: it answers from the address that a peer last sent to, through
// the interface that this came in by, and a route may lead elsewhere now.
// wireguard-go does so for a bind of its own alone (sticky_linux.go).
func followRoutes(d *wireguard.Device) error {
	news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	go func() {
		for {
			if _, _, err := news.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) { // more than fit
				return
			}
			select {
			case changed <- struct{}{}:
			default: // to be followed already
			}
		}
	}()
	go func() {
		for range changed {
			time.Sleep(100 * time.Millisecond) // routes change many at a time
			d.BindUpdate()                     // which forgets the addresses
		}
	}()
	return nil
}
