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
		s, err = observe(ctx, k, name, view, entries)
		return err
	})
	return s, err
}

func observe(ctx context.Context, k *Kernel, name string, view *tunnel.View,
	entries journal.Entries) (*apply.State, error) {
	s := &apply.State{Sysctls: map[string]string{}}
	few := withoutLists(entries)
	l, err := k.links.Find(name)
	if err != nil {
		return nil, err
	}
	if err := k.observeRenamed(l, s, entries.LinkNumber(name)); err != nil {
		return nil, err
	}
	if err := k.observeTunnel(l, name, s, view); err != nil {
		return nil, err
	}
	if err := k.observeRouting(name, s, view, few); err != nil {
		return nil, err
	}
	services.ObserveManagers(ctx, name, s, view)
	services.ObserveResolver(name, s, view, few)
	if err := k.sys.Observe(name, s, view, few); err != nil {
		return nil, err
	}
	needs.Observe(k.nl, RunDir, name, s, view, few)
	observeThreads(k.sys, name, view, s)
	if view == nil {
		return s, nil
	}
	if err := k.observeHurdles(l, s, view); err != nil {
		return nil, err
	}
	k.wg.ReadKeyFiles(view, s)
	k.names.Observe(ctx, view, s, entries)
	if err := path.Observe(name, k.routes.Narrow(), s, view, entries, k.wg.Next); err != nil {
		return nil, err
	}
	policyRouting := apply.NeedsPolicyRouting(view, s)
	s.Labels = s.Labels || policyRouting && nft.CanLabel(name)
	if view.Masquerade != nil || policyRouting {
		return s, interfaces.ObserveInner(k.nl, name, s)
	}
	return s, nil
}

// observeTunnel reads the routes, and the link with its peers if there is one.
func (k *Kernel) observeTunnel(l netlink.Link, name string, s *apply.State, view *tunnel.View) error {
	if view != nil {
		expected := max(len(view.Peers), len(view.Routes)) + 16
		k.wg.Expect(expected)
		k.routes.Expect(expected)
		if err := k.routes.Observe(s.LinkIndex, view, s); err != nil {
			return err
		}
	}
	if l != nil {
		return k.observeLink(l, name, s, view != nil)
	}
	return nil
}

// observeRouting reads what decides how the host routes a packet and whether it passes: the
// uplinks, the rules, the unreachable routes and the packet filters.
func (k *Kernel) observeRouting(name string, s *apply.State, view *tunnel.View, entries journal.Entries) error {
	if err := interfaces.ObserveUplinks(k.nl, s, view, entries); err != nil {
		return err
	}
	if err := path.Arrivals(k.nl, s.Uplinks); err != nil {
		return err
	}
	if err := rule.Observe(k.nl, s, view, entries); err != nil {
		return err
	}
	if err := k.routes.ObserveUnreachable(s, entries); err != nil {
		return err
	}
	if view != nil {
		s.Ways, s.IPsec = path.Ways(k.nl, view), path.IPsec()
		through, err := path.Through(k.nl, view, s.LinkIndex)
		if err != nil {
			return err
		}
		s.Through = through
	}
	if err := observeFilter(name, view, s, entries); err != nil {
		return err
	}
	return observeFirewall(k.nl, s, view)
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

// observeRenamed finds the link that we made if somebody has renamed it.
func (k *Kernel) observeRenamed(link netlink.Link, s *apply.State, number int) error {
	if link != nil {
		s.LinkIndex = link.Attrs().Index
	}
	if number == 0 || number == s.LinkIndex {
		return nil
	}
	ours, err := k.nl.LinkByIndex(number)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && nlmsg.KindOf(ours) != "" {
		s.Renamed = ours.Attrs().Name
	}
	return err
}

// LinkIndex implements [apply.Kernel].
func (k *Kernel) LinkIndex(name string) (int, error) {
	return k.links.Index(name)
}

// observeLink reads the link itself and, if whole is set, its addresses and the device.
func (k *Kernel) observeLink(link netlink.Link, name string, s *apply.State, whole bool) error {
	a := link.Attrs()
	s.Link = &apply.Link{Kind: cmp.Or(nlmsg.KindOf(link), link.Type()), MTU: a.MTU, Up: a.Flags&unix.IFF_UP != 0}
	if a.Name != name {
		s.RealName = a.Name
	}
	if !whole {
		return nil
	}
	if a.MasterIndex != 0 {
		if master, err := k.nl.LinkByIndex(a.MasterIndex); err == nil {
			s.Master = master.Attrs().Name
		}
	}
	if err := k.wg.Ask(a.Name, s.Link.Kind); err != nil {
		return translate(err)
	}
	if err := k.links.ObserveAddresses(link, s); err != nil {
		return err
	}
	return translate(k.wg.Observe(a.Name, s)) // last, because its answer takes longest
}
