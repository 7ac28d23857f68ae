package apply

import (
	"fmt"
	"net/netip"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// An Address is an INSIDE address of a link. A point-to-point one is a single address with
// a far end, and the length belongs to both (ip-address(8), "peer").
type Address struct {
	Prefix, Remote netip.Prefix // Remote is the zero Prefix if there is none
}

// String is the address as ip(8) takes and prints it.
func (a Address) String() string {
	if a.Remote.IsValid() {
		return a.Prefix.Addr().String() + " peer " + a.Remote.String()
	}
	return a.Prefix.String()
}

// addressesOfView are the addresses of a view.
func addressesOfView(view *tunnel.View) []Address {
	list := make([]Address, 0, len(view.Addresses))
	for _, a := range view.Addresses {
		list = append(list, Address{a, view.Remotes[a.Addr()]})
	}
	return list
}

// When setAddresses runs: before the link is set up, or after it.
const beforeUp, afterUp = false, true

// setAddresses adds the missing addresses whose time it is. IPv6 addresses with a far end
// are added after the link is up, since otherwise the kernel makes no route to the far end
// (__ipv6_ifa_notify); all others before. IPv6 has an address only once on a link, whatever its length and
// far end (ipv6_add_addr: EEXIST), so an address that changes them is removed first.
func setAddresses(p *planner, up bool) {
	for _, a := range subtract(addressesOfView(p.view), p.state.Addresses) {
		if up != (a.Remote.IsValid() && a.Remote.Addr().Is6()) {
			continue
		}
		if old, there := sameAddress(p.state.Addresses, a); there {
			c := AddressChange{p.view.Tunnel, old, false}
			if !p.isMine(c.Resource()) {
				p.note("address %s on %s was not made by wgkeys and stays: IPv6 cannot have %s beside it", old, p.view.Tunnel, a)
				continue
			}
			p.step(c, "is about to be %s, and IPv6 has an address once", a)
		}
		p.step(AddressChange{p.view.Tunnel, a, true}, "address of %s, INSIDE", p.view.Host)
	}
}

// sameAddress returns the IPv6 address of the link that a would replace.
func sameAddress(live []Address, a Address) (Address, bool) {
	for _, old := range live {
		if old.Prefix.Addr().Is6() && old.Prefix.Addr() == a.Prefix.Addr() {
			return old, true
		}
	}
	return Address{}, false
}

func removeAddresses(p *planner) {
	wanted := addressesOfView(p.view)
	for _, a := range subtract(p.state.Addresses, wanted) {
		c := AddressChange{p.view.Tunnel, a, false}
		_, replaced := sameAddress(wanted, a)
		switch {
		case replaced: // see setAddresses
		case p.isMine(c.Resource()):
			p.step(c, "no longer an address of %s", p.view.Host)
		default:
			p.note("address %s on %s was not made by wgkeys: left alone", a, p.view.Tunnel)
		}
	}
}

// An AddressChange adds or removes an INSIDE address of the link.
type AddressChange struct {
	Link    string
	Address Address
	Add     bool
}

func (c AddressChange) Resource() journal.Resource { return journal.Address.Of(c.Address.String()) }

func (c AddressChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }

func (c AddressChange) String() string {
	family := Route{Prefix: c.Address.Prefix}.family()
	return fmt.Sprintf("ip %s address %s %s dev %s", family, verb(c.Add), c.Address, c.Link)
}

func (c AddressChange) entries(_ journal.Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c AddressChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (AddressChange) trusted() bool       { return false }
func (AddressChange) traits() traits      { return traits{batched: true, steers: true} }
func (AddressChange) TouchesKernel() bool { return true }
