package linux

import (
	"cmp"
	"context"
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux/interfaces"
	"wgkeys/deploy/apply/linux/needs"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/apply/linux/path"
	"wgkeys/deploy/apply/linux/rule"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/tunnel"
)

// Observe implements [apply.Kernel].
func (k *Kernel) Observe(ctx context.Context, name string, view *tunnel.View,
	entries journal.Entries) (s *apply.State, err error) {
	err = lookTwice(k, name, func() error {
		s = &apply.State{Sysctls: map[string]string{}}
		return observation{k, s, name, view, withoutLists(entries)}.read(ctx, entries)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// An observation reads the state of the kernel around one tunnel.
type observation struct {
	k    *Kernel
	s    *apply.State
	name string
	view *tunnel.View    // nil: none is wanted
	few  journal.Entries // those of the tunnel but for peers and routes
}

func (o observation) read(ctx context.Context, entries journal.Entries) error {
	l, err := o.k.links.Find(o.name)
	if err != nil {
		return err
	}
	if err := o.renamed(l, entries.LinkNumber(o.name)); err != nil {
		return err
	}
	if err := o.tunnel(l); err != nil {
		return err
	}
	if err := o.routing(); err != nil {
		return err
	}
	services.ObserveManagers(ctx, o.name, o.s, o.view)
	services.ObserveResolver(o.name, o.s, o.view, o.few)
	if err := o.k.sys.Observe(o.name, o.s, o.view, o.few); err != nil {
		return err
	}
	needs.Observe(o.k.nl, RunDir, o.name, o.s, o.view, o.few)
	needs.ObserveFiles(o.s, o.view)
	observeThreads(o.k.sys, o.name, o.view, o.s)
	if o.view == nil {
		return nil
	}
	if err := o.hurdles(l); err != nil {
		return err
	}
	o.k.wg.ReadKeyFiles(o.view, o.s)
	o.k.names.Observe(ctx, o.view, o.s, entries)
	if err := path.Observe(o.name, o.k.routes.Narrow(), o.s, o.view, entries, o.k.wg.Next); err != nil {
		return err
	}
	policyRouting := apply.NeedsPolicyRouting(o.view, o.s)
	o.s.Labels = o.s.Labels || policyRouting && nft.CanLabel(o.name)
	if o.view.Masquerade != nil || policyRouting {
		return interfaces.ObserveInner(o.k.nl, o.name, o.s)
	}
	return nil
}

// tunnel reads the routes, and the link with its peers if there is one.
func (o observation) tunnel(l netlink.Link) error {
	if o.view != nil {
		expected := max(len(o.view.Peers), len(o.view.Routes)) + 16
		o.k.wg.Expect(expected)
		o.k.routes.Expect(expected)
		if err := o.k.routes.Observe(o.s.LinkIndex, o.view, o.s); err != nil {
			return err
		}
	}
	if l != nil {
		return o.link(l)
	}
	return nil
}

// routing reads what decides how the host routes a packet and whether it passes: the uplinks,
// the rules, the unreachable routes and the packet filters.
func (o observation) routing() error {
	if err := interfaces.ObserveUplinks(o.k.nl, o.s, o.view, o.few); err != nil {
		return err
	}
	if err := path.Arrivals(o.k.nl, o.s.Uplinks); err != nil {
		return err
	}
	if err := rule.Observe(o.k.nl, o.s, o.view, o.few); err != nil {
		return err
	}
	if err := o.k.routes.ObserveUnreachable(o.s, o.few); err != nil {
		return err
	}
	if o.view != nil {
		o.s.Ways, o.s.IPsec = path.Ways(o.k.nl, o.view), path.IPsec()
		through, err := path.Through(o.k.nl, o.view, o.s.LinkIndex)
		if err != nil {
			return err
		}
		o.s.Through = through
	}
	if err := observeFilter(o.name, o.view, o.s, o.few); err != nil {
		return err
	}
	return observeFirewall(o.k.nl, o.s, o.view)
}

// withoutLists returns the entries other than those of peers and routes. There may be ten
// thousand of these two, and the observers that get the result go through all entries.
func withoutLists(entries journal.Entries) journal.Entries {
	few := journal.Entries{}
	for resource, e := range entries {
		if resource.Kind != journal.Peer && resource.Kind != journal.Route {
			few[resource] = e
		}
	}
	return few
}

// renamed finds the link that we made if somebody has renamed it.
func (o observation) renamed(l netlink.Link, number int) error {
	if l != nil {
		o.s.LinkIndex = l.Attrs().Index
	}
	if number == 0 || number == o.s.LinkIndex {
		return nil
	}
	ours, err := o.k.nl.LinkByIndex(number)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && nlmsg.KindOf(ours) != "" {
		o.s.Renamed = ours.Attrs().Name
	}
	return err
}

// LinkIndex implements [apply.Kernel].
func (k *Kernel) LinkIndex(name string) (int, error) {
	return k.links.Index(name)
}

// link reads the link itself and, if a view is wanted, its addresses and the device.
func (o observation) link(l netlink.Link) error {
	a := l.Attrs()
	o.s.Link = &apply.Link{Kind: cmp.Or(nlmsg.KindOf(l), l.Type()), MTU: a.MTU, Up: a.Flags&unix.IFF_UP != 0}
	if a.Name != o.name {
		o.s.RealName = a.Name
	}
	if o.view == nil {
		return nil
	}
	if a.MasterIndex != 0 {
		if master, err := o.k.nl.LinkByIndex(a.MasterIndex); err == nil {
			o.s.Master = master.Attrs().Name
		}
	}
	if err := o.k.wg.Ask(a.Name, o.s.Link.Kind); err != nil {
		return translate(err)
	}
	if err := o.k.links.ObserveAddresses(l, o.s); err != nil {
		return err
	}
	return translate(o.k.wg.Observe(a.Name, o.s)) // last, because its answer takes longest
}
