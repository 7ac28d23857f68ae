package device

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	wireguard "golang.zx2c4.com/wireguard/device"
)

// followRoutes makes the device forget its source addresses when the host's routes or rules
// change.
// WireGuard answers from the address and through the interface at which a peer's last
// packet arrived, and a route may lead elsewhere now. wireguard-go does this too, but only
// for its own bind (sticky_linux.go).
//
// Routes through the tunnel itself matter only to what is never to be sent into it.
func followRoutes(d *wireguard.Device, sockets *bind, tunnel string) error {
	link, err := net.InterfaceByName(tunnel)
	if err != nil {
		return err
	}
	sockets.mu.Lock()
	sockets.own = link.Index
	sockets.mu.Unlock()
	news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	go func() {
		for {
			messages, _, err := news.Receive()
			sockets.forget()
			missed := errors.Is(err, unix.ENOBUFS)
			switch {
			case err != nil && !missed:
				return
			case missed || slices.ContainsFunc(messages,
				func(m syscall.NetlinkMessage) bool { return !leadsThrough(m, link.Index) }):
				select {
				case changed <- struct{}{}:
				default: // one is pending already
				}
			}
		}
	}()
	go func() {
		for range changed {
			time.Sleep(100 * time.Millisecond) // routes often change many at a time
			d.BindUpdate()                     // this forgets the addresses
		}
	}()
	return nil
}

// leadsThrough reports whether the message is about a route that leads through the link.
func leadsThrough(m syscall.NetlinkMessage, link int) bool {
	route := m.Header.Type == unix.RTM_NEWROUTE || m.Header.Type == unix.RTM_DELROUTE
	if !route || len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	attributes, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	return err == nil && slices.ContainsFunc(attributes, func(a syscall.NetlinkRouteAttr) bool {
		return a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4 && int(binary.NativeEndian.Uint32(a.Value)) == link
	})
}
