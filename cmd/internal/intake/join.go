package intake

import (
	"slices"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// join gives one name to interfaces of several hosts that are one tunnel by their public keys.
// They have different ones if a file is named after something else than its interface, such as
// the host. Args are the arguments of the import.
func join(devices []*foreign.Device, args []string, report ui.Reporter) error {
	if len(devices) < 2 {
		return nil
	}
	of := map[keyring.PublicKey][]*foreign.Device{}
	for _, d := range devices {
		if !d.PrivateKey.IsZero() {
			public := d.PrivateKey.PublicKey()
			of[public] = append(of[public], d)
		}
	}
	for again := true; again; {
		again = false
		for _, d := range devices {
			other := farEnd(d, of)
			if other == nil {
				continue
			}
			switch {
			case isCopy(d) && isCopy(other):
				return unnamed(d, other, args)
			case isCopy(other):
				d, other = other, d
			case !isCopy(d):
				continue
			}
			report.Say("%s is of tunnel %s, by its public keys", d.Pos.File, other.Name)
			d.Name, again = other.Name, true
		}
	}
	return nil
}

// farEnd returns an interface of another host and another name that is a peer of d, and d of it,
// or nil. If one of the same name has the key, too, that is the peer.
func farEnd(d *foreign.Device, of map[keyring.PublicKey][]*foreign.Device) *foreign.Device {
	if d.PrivateKey.IsZero() {
		return nil
	}
	public := d.PrivateKey.PublicKey()
	for _, p := range d.Peers {
		named := func(o *foreign.Device) bool { return o.Host != d.Host && o.Name == d.Name }
		mutual := func(o *foreign.Device) bool {
			return o.Host != d.Host && slices.ContainsFunc(o.Peers, func(q foreign.Peer) bool { return q.PublicKey == public })
		}
		if i := slices.IndexFunc(of[p.PublicKey], mutual); i >= 0 && !slices.ContainsFunc(of[p.PublicKey], named) {
			return of[p.PublicKey][i]
		}
	}
	return nil
}

// isCopy reports whether an interface has its name from a file that is not named after one.
func isCopy(d *foreign.Device) bool { return d.ByFile && !strings.HasPrefix(d.Name, "wg") }

func unnamed(a, b *foreign.Device, args []string) error {
	again := []string{"wgkeys import -n -t wg0"}
	for _, arg := range args {
		again = append(again, ui.Quoted(arg))
	}
	return fault.NewFile("cannot name the tunnel of", a.Pos.File, "by its public keys it is that of "+b.Pos.File+
		", and neither file is named after an interface", strings.Join(again, " "))
}
