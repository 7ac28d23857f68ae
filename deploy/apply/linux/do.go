package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/keyring/fault"
)

// Do implements [apply.Kernel].
func (k *Kernel) Do(ctx context.Context, changes []apply.Change) error {
	if peers, ok := peerChanges(changes); ok {
		return k.setPeersTold(peers)
	}
	k.routes, k.links = nil, map[string]netlink.Link{}
	defer func() { k.links = nil }()
	for _, c := range changes {
		if err := k.do(ctx, c); err != nil {
			return &apply.ChangeError{Change: c, Err: translate(err)}
		}
	}
	return nil
}

func (k *Kernel) do(ctx context.Context, c apply.Change) error {
	switch c := c.(type) {
	case apply.LinkChange:
		return k.setLink(ctx, c)
	case apply.DeviceChange:
		return k.wg.SetDevice(c)
	case apply.PeerChange:
		return k.wg.SetPeers([]apply.PeerChange{c})
	case apply.AddressChange:
		return k.setAddress(c)
	case apply.RouteChange:
		return k.setRoute(c)
	case apply.ProxyChange:
		return k.setProxy(c)
	case apply.SysctlChange:
		return k.sys.Set(c)
	case apply.RuleChange:
		return k.setRule(c)
	case apply.UnreachableChange:
		return k.setUnreachable(c)
	case apply.ThreadsChange:
		return setThreads(c)
	case apply.FilterChange:
		return k.setFilter(ctx, c)
	case apply.ManagerChange:
		return services.SetManager(ctx, c)
	case apply.DNSChange:
		return services.SetDNS(ctx, c)
	case apply.ShareChange, apply.ReleaseChange:
		return nil
	}
	return fmt.Errorf("no way to make a change of type %T", c)
}

// setPeersTold does so, and finds out which change failed of those that went in one
// message: one by one they are made again, as they may be.
func (k *Kernel) setPeersTold(changes []apply.PeerChange) error {
	err := k.wg.SetPeers(changes)
	if err == nil {
		return nil
	}
	for _, c := range changes {
		if alone := k.wg.SetPeers([]apply.PeerChange{c}); alone != nil {
			return &apply.ChangeError{Change: c, Err: translate(alone)}
		}
	}
	return translate(err) // it was the moment, and not one of them
}

func peerChanges(changes []apply.Change) ([]apply.PeerChange, bool) {
	var peers []apply.PeerChange
	for _, c := range changes {
		p, ok := c.(apply.PeerChange)
		if !ok {
			return nil, false
		}
		peers = append(peers, p)
	}
	return peers, true
}

func (k *Kernel) setLink(ctx context.Context, c apply.LinkChange) error {
	clear(k.links)
	defer clear(k.links)
	link, err := k.link(c.Name)
	switch {
	case err != nil:
		return err
	case c.New == nil && link == nil:
		return nil
	case c.New == nil:
		return k.removeLink(link)
	case c.Old == nil && link == nil:
		return k.addLink(ctx, c)
	case link == nil:
		return fmt.Errorf("interface %s is gone", c.Name)
	}
	if link.Attrs().MTU != c.New.MTU {
		if err := k.setMTU(link, c.New.MTU); err != nil {
			return err
		}
	}
	if up := link.Attrs().Flags&unix.IFF_UP != 0; up != c.New.Up {
		if c.New.Up {
			return nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.LinkSetUp(link) })
		}
		return nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.LinkSetDown(link) })
	}
	return nil
}

// addLink makes the interface in the kernel, or in user space where the kernel
// has no WireGuard.
func (k *Kernel) addLink(ctx context.Context, c apply.LinkChange) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = c.Name, c.New.MTU
	err := k.nl.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = k.startDevice(ctx, c)
	}
	if err != nil {
		return err
	}
	return k.sys.HearNoRouters(c.Name)
}

// startDevice makes the interface in user space.
func (k *Kernel) startDevice(ctx context.Context, c apply.LinkChange) error {
	if err := device.Start(ctx, c.Name, c.New.MTU); err != nil {
		if _, none := os.Stat("/dev/net/tun"); none != nil {
			return fault.Wrap(err, "this kernel has neither WireGuard nor what a device in user space takes, for", c.Name,
				"modprobe wireguard, or modprobe tun; a container is started with docker run --cap-add NET_ADMIN --device /dev/net/tun")
		}
		return err
	}
	link, err := k.nl.LinkByName(c.Name)
	if err != nil {
		return err
	}
	return k.noLinkLocal(link)
}

// removeLink removes the interface and waits until a device in user space has
// let go of it.
//
// Its peers go first. The kernel waits for each peer of an interface that goes
// (wg_destruct, netif_napi_del, synchronize_net), some 12 ms, where it holds no
// lock of the network; asked to remove the peers it holds that lock, and waits
// the short way. Where this fails, it is only slow.
func (k *Kernel) removeLink(link netlink.Link) error {
	if kindOf(link) == "wireguard" {
		k.wg.RemovePeers(link.Attrs().Name)
	}
	if err := nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.LinkDel(link) }); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if kindOf(link) == "tun" {
		return device.Gone(link.Attrs().Name, 5*time.Second)
	}
	return nil
}

func (k *Kernel) setProxy(c apply.ProxyChange) error {
	link, err := k.link(c.Proxy.Link)
	if err != nil || link == nil {
		return errIfMissing(err, c.Proxy.Link, c.Add)
	}
	n := &netlink.Neigh{
		LinkIndex: link.Attrs().Index,
		Family:    netlink.FAMILY_V6,
		Flags:     netlink.NTF_PROXY,
		IP:        c.Proxy.Addr.AsSlice(),
	}
	if c.Add {
		return nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.NeighAdd(n) }), unix.EEXIST)
	}
	return nlmsg.Ignore(nlmsg.Try(k.nl, func(h *netlink.Handle) error { return h.NeighDel(n) }), unix.ENOENT)
}

// errIfMissing: nothing can be added to an interface that is gone, and all that was
// on it is removed.
func errIfMissing(err error, link string, add bool) error {
	if err == nil && add {
		return fmt.Errorf("interface %s is gone", link)
	}
	return err
}
