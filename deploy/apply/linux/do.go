package linux

import (
	"context"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/interfaces"
	"wgkeys/deploy/apply/linux/rule"
	"wgkeys/deploy/apply/linux/services"
)

// Do implements [apply.Kernel].
func (k *Kernel) Do(ctx context.Context, changes []apply.Change) error {
	if peers, ok := peerChanges(changes); ok {
		return k.setEachPeer(peers)
	}
	k.routes.Forget()
	defer k.links.Remember()()
	for _, c := range changes {
		if err := k.do(ctx, c); err != nil {
			return &apply.ChangeError{Change: c, Err: translate(err)}
		}
	}
	return nil
}

// Await waits until the IPv6 addresses of the link can be used, if one of the steps added
// an address or made or changed the link.
func (k *Kernel) Await(ctx context.Context, name string, steps []apply.Step) {
	gives := func(s apply.Step) bool {
		switch c := s.Change.(type) {
		case apply.AddressChange:
			return c.Add && c.Link == name && c.Address.Prefix.Addr().Is6()
		case apply.LinkChange:
			return c.New != nil
		}
		return false
	}
	if slices.ContainsFunc(steps, gives) {
		k.links.AwaitAddresses(ctx, name)
	}
}

func (k *Kernel) do(ctx context.Context, c apply.Change) error {
	switch c := c.(type) {
	case apply.LinkChange:
		return k.links.Set(ctx, c)
	case apply.DeviceChange:
		return k.wg.SetDevice(c)
	case apply.PeerChange:
		return k.wg.SetPeers([]apply.PeerChange{c})
	case apply.AddressChange:
		return k.links.On(c.Link, c.Add, func(l netlink.Link) error { return k.links.SetAddress(l, c) })
	case apply.RouteChange:
		return k.links.On(c.Link, c.New != nil, func(l netlink.Link) error { return k.routes.Set(l, c) })
	case apply.ProxyChange:
		return k.links.On(c.Proxy.Link, c.Add, func(l netlink.Link) error { return interfaces.SetProxy(k.nl, l, c) })
	case apply.SysctlChange:
		return k.sys.Set(c)
	case apply.RuleChange:
		return rule.Set(c)
	case apply.UnreachableChange:
		return k.routes.SetUnreachable(c)
	case apply.ThreadsChange:
		return setThreads(c)
	case apply.FilterChange:
		return setFilter(ctx, k.wg, c)
	case apply.ManagerChange:
		return services.SetManager(ctx, c)
	case apply.DNSChange:
		return services.SetDNS(ctx, c)
	case apply.ShareChange, apply.ReleaseChange:
		return nil
	}
	return fmt.Errorf("no way to make a change of type %T", c)
}

// setEachPeer sends all changes in one message. If the kernel refuses it, the changes are
// made again one by one, which is harmless, to find the one that failed.
func (k *Kernel) setEachPeer(changes []apply.PeerChange) error {
	err := k.wg.SetPeers(changes)
	if err == nil {
		return nil
	}
	for _, c := range changes {
		if alone := k.wg.SetPeers([]apply.PeerChange{c}); alone != nil {
			return &apply.ChangeError{Change: c, Err: translate(alone)}
		}
	}
	return translate(err) // each of them works alone: the cause has passed
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
