package link

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring/fault"
)

// Set makes, changes or removes the tunnel's link.
func (l *Links) Set(ctx context.Context, c apply.LinkChange) error {
	clear(l.known)
	defer clear(l.known)
	link, err := l.Find(c.Name)
	switch {
	case err != nil:
		return err
	case c.New == nil && link == nil:
		return nil
	case c.New == nil:
		return l.remove(link)
	case c.Old == nil && link == nil:
		return l.add(ctx, c)
	case link == nil:
		return errGone(c.Name)
	}
	if link.Attrs().MTU != c.New.MTU {
		if err := l.setMTU(link, c.New.MTU); err != nil {
			return err
		}
	}
	if up := link.Attrs().Flags&unix.IFF_UP != 0; up != c.New.Up {
		if c.New.Up {
			return nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.LinkSetUp(link) })
		}
		return nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.LinkSetDown(link) })
	}
	return nil
}

// add makes the interface in the kernel, or in user space if the kernel has no WireGuard.
func (l *Links) add(ctx context.Context, c apply.LinkChange) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = c.Name, c.New.MTU
	err := l.nl.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = l.startDevice(ctx, c)
	}
	if err != nil {
		return err
	}
	return l.sys.HearNoRouters(c.Name)
}

// startDevice starts a device in user space, which makes the interface.
func (l *Links) startDevice(ctx context.Context, c apply.LinkChange) error {
	if err := device.Start(ctx, c.Name, c.New.MTU); err != nil {
		if _, none := os.Stat("/dev/net/tun"); none != nil {
			return fault.Wrap(err, "this kernel has neither WireGuard nor what a device in user space takes, for", c.Name,
				"modprobe wireguard, or modprobe tun; a container is started with docker run --cap-add NET_ADMIN --device /dev/net/tun")
		}
		return err
	}
	link, err := l.nl.LinkByName(c.Name)
	if err != nil {
		return err
	}
	return l.noLinkLocal(link)
}

// remove removes the interface. If it belongs to a device in user space, it waits until
// that has ended.
//
// The peers are removed first, for speed: when an interface goes, the kernel waits about 12
// ms for each peer (wg_destruct, netif_napi_del, synchronize_net). A request to remove
// peers holds the lock of the network configuration, under which the kernel waits the short
// way. An error there is ignored.
func (l *Links) remove(link netlink.Link) error {
	if nlmsg.KindOf(link) == "wireguard" {
		l.wg.RemovePeers(link.Attrs().Name)
	}
	if err := nlmsg.Try(l.nl, func(h *netlink.Handle) error { return h.LinkDel(link) }); err != nil &&
		!errors.Is(err, unix.ENODEV) {
		return err
	}
	if nlmsg.KindOf(link) == "tun" {
		return device.Gone(link.Attrs().Name, 5*time.Second)
	}
	return nil
}
