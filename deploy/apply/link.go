package apply

import (
	"fmt"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring"
)

// A Link is a network interface.
type Link struct {
	Kind string // "wireguard", or "tun" for a device in user space
	MTU  int    // bytes; 0 in a change: the kernel's default
	Up   bool
}

// A Device is the WireGuard part of a link. Its private key is represented by its public
// key.
type Device struct {
	PublicKey      keyring.PublicKey
	PrivateKeyFile string // the source of the key; "" in what the kernel has
	ListenPort     int
	FwMark         uint32
}

// A LinkChange makes (Old nil), changes or removes (New nil) an interface.
type LinkChange struct {
	Name        string
	Old, New    *Link
	SideEffects []SideEffect
}

func (c LinkChange) Resource() journal.Resource { return journal.Link.Of(c.Name) }

func (c LinkChange) Inverse() []Change {
	return append([]Change{LinkChange{Name: c.Name, Old: c.New, New: c.Old}}, putBack(c.SideEffects)...)
}

func (c LinkChange) String() string {
	switch {
	case c.New == nil:
		return "ip link del " + c.Name
	case c.Old == nil:
		s := "ip link add " + c.Name
		if c.New.MTU != 0 {
			s += fmt.Sprintf(" mtu %d", c.New.MTU)
		}
		return s + " type wireguard"
	case c.Old.Up != c.New.Up && c.New.Up:
		return "ip link set " + c.Name + " up"
	case c.Old.Up != c.New.Up:
		return "ip link set " + c.Name + " down"
	default:
		return fmt.Sprintf("ip link set %s mtu %d", c.Name, c.New.MTU)
	}
}

func (c LinkChange) entries(known journal.Entries) []line {
	if c.Old == nil && c.New != nil {
		return append(sideEffectLines(c.SideEffects, known), made(c)...)
	}
	return nil
}

func (c LinkChange) restores(_ journal.Entry, _ journal.Entries) bool { return c.New == nil }
func (LinkChange) trusted() bool                                      { return false }
func (LinkChange) traits() traits                                     { return traits{steers: true} }
func (LinkChange) TouchesKernel() bool                                { return true }

// A DeviceChange sets a device's private key, port and mark.
type DeviceChange struct {
	Link     string
	Old, New Device
}

func (c DeviceChange) Resource() journal.Resource { return journal.Device.Of(c.Link) }

func (c DeviceChange) Inverse() []Change {
	return []Change{DeviceChange{c.Link, c.New, c.Old}}
}

func (c DeviceChange) String() string {
	s := "wg set " + c.Link
	if c.Old.PublicKey != c.New.PublicKey {
		s += " private-key " + c.New.PrivateKeyFile
	}
	if c.Old.ListenPort != c.New.ListenPort {
		s += fmt.Sprintf(" listen-port %d", c.New.ListenPort)
	}
	if c.Old.FwMark != c.New.FwMark {
		s += fmt.Sprintf(" fwmark %#x", c.New.FwMark)
	}
	return s
}

func (DeviceChange) entries(_ journal.Entries) []line                 { return nil }
func (DeviceChange) restores(_ journal.Entry, _ journal.Entries) bool { return true }
func (DeviceChange) trusted() bool                                    { return false }
func (DeviceChange) traits() traits                                   { return traits{} }
func (DeviceChange) TouchesKernel() bool                              { return true }
