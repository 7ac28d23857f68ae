// Package link makes, changes and removes the interface of a tunnel, in the kernel or in
// user space, and its addresses.
package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply/linux/route"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/apply/linux/wg"
)

// Links are the host's interfaces. They are not safe for concurrent use.
type Links struct {
	nl     *netlink.Handle
	wg     *wg.Client
	sys    *sysctl.Root
	routes *route.Table
	known  map[string]netlink.Link // by name, while changes are being made
}

// New returns the interfaces of the handle's network namespace.
func New(nl *netlink.Handle, wg *wg.Client, sys *sysctl.Root, routes *route.Table) *Links {
	return &Links{nl: nl, wg: wg, sys: sys, routes: routes}
}

// Remember keeps the interfaces that Find returns, until end is called, so that each is
// looked up once. Until then nobody but the caller may change an interface.
func (l *Links) Remember() (end func()) {
	l.known = map[string]netlink.Link{}
	return func() { l.known = nil }
}

// Find returns the interface of that name, or nil if there is none.
func (l *Links) Find(name string) (netlink.Link, error) {
	if link := l.known[name]; link != nil {
		return link, nil
	}
	link, err := l.nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err == nil && l.known != nil {
		l.known[name] = link
	}
	return link, err
}

// On calls change with the interface of that name. If it is gone, an addition is an error;
// a removal is not, because what was on the interface is gone too.
func (l *Links) On(name string, add bool, change func(netlink.Link) error) error {
	link, err := l.Find(name)
	switch {
	case err != nil:
		return err
	case link != nil:
		return change(link)
	case add:
		return errGone(name)
	}
	return nil
}

// Index returns the index of an interface, or an error if it is gone.
func (l *Links) Index(name string) (int, error) {
	link, err := l.Find(name)
	switch {
	case err != nil:
		return 0, err
	case link == nil:
		return 0, errGone(name)
	}
	return link.Attrs().Index, nil
}

func errGone(name string) error { return fmt.Errorf("interface %s is gone", name) }
