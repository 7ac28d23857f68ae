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

// Links are the host's interfaces. They are for one goroutine.
type Links struct {
	nl     *netlink.Handle
	wg     *wg.Client
	sys    *sysctl.Root
	routes *route.Table
	known  map[string]netlink.Link // by name, while changes are being made
}

// New returns the interfaces that a handle leads to.
func New(nl *netlink.Handle, wg *wg.Client, sys *sysctl.Root, routes *route.Table) *Links {
	return &Links{nl: nl, wg: wg, sys: sys, routes: routes}
}

// Remember has each interface looked for once, until end is called: nobody but us
// changes one meanwhile.
func (l *Links) Remember() (end func()) {
	l.known = map[string]netlink.Link{}
	return func() { l.known = nil }
}

// Find returns the interface, or nil where there is none of that name.
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

// On changes something on an interface. Nothing can be added to one that is gone, and
// all that was on it is removed.
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

// Index returns the number of an interface.
func (l *Links) Index(name string) (index int, err error) {
	err = l.On(name, true, func(link netlink.Link) error {
		index = link.Attrs().Index
		return nil
	})
	return index, err
}

func errGone(name string) error { return fmt.Errorf("interface %s is gone", name) }
