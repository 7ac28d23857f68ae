package path

import (
	"errors"
	"net/netip"
	"slices"

	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
)

// Arrivals asks the kernel by which of several uplinks it takes what comes from the internet, and
// enters into the others where it would send the answer.
func Arrivals(handle *netlink.Handle, uplinks []apply.Uplink) error {
	several := slices.DeleteFunc(slices.Clone(uplinks), func(u apply.Uplink) bool { return !u.IPv4 })
	if len(several) < 2 {
		return nil
	}
	conn, err := mdlayher.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	t := &throughs{handle: handle, conn: conn}
	for i := range uplinks {
		if u := &uplinks[i]; u.IPv4 {
			if u.Refuses, err = t.refuses(u.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuses returns the name of the link by which this host sends what is for the internet, if
// rp_filter has it take nothing from there by another one; otherwise "".
func (t *throughs) refuses(uplink string) (by string, err error) {
	internet := probes(netip.PrefixFrom(netip.IPv4Unspecified(), 0))[0]
	link, err := t.handle.LinkByName(uplink)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	own, err := nlmsg.Retry(func() ([]netlink.Addr, error) { return t.handle.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return "", err
	}
	for _, a := range own {
		p, ok := nlmsg.Prefix(a.IPNet)
		if !ok || a.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		_, err := t.ask(p.Addr(), internet, link.Attrs().Index)
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EINVAL) {
			continue
		}
		if r, err := t.ask(internet, netip.Addr{}, 0); err == nil && r.link != link.Attrs().Index {
			other, err := t.handle.LinkByIndex(r.link)
			if err == nil {
				by = other.Attrs().Name
			}
		}
	}
	return by, nil
}
