package tunnel

import (
	"net/netip"
	"slices"

	"wgkeys/keyring"
)

// surelyValid reports whether v, with this difference, is valid because the earlier view
// was: what is new is valid by itself, and in conflict with nothing. If it is not certain,
// [View.Validate] decides.
func (d *difference) surelyValid(v *View) bool {
	const few = 256 // with more, validating everything takes no longer
	if len(d.peers)+len(d.routes)+len(d.gone) > few || v.checkHost() != nil || v.checkRest() != nil {
		return false
	}
	n := newcomers{unique[string]{}, unique[string]{}, unique[keyring.PublicKey]{}, map[string]bool{}}
	return n.addHost(v) && n.addPeers(v, d) && n.among(v, d.peers) && d.routesValid(v, n.gone)
}

// newcomers are what must be unique, of the host itself and of the peers that are new or
// changed.
type newcomers struct {
	names, files unique[string]
	keys         unique[keyring.PublicKey]
	gone         map[string]bool // peers that were removed
}

func (n *newcomers) addHost(v *View) bool {
	return n.add(v.Host, v.PublicKey, v.NextPublicKey, v.PrivateKeyFile)
}

func (n *newcomers) addPeers(v *View, d *difference) bool {
	for i := range d.gone {
		n.gone[d.gone[i].Name] = true
	}
	for _, i := range d.peers {
		p := &v.Peers[i]
		if p.check() != nil || !n.add(p.Name, p.PublicKey, p.NextPublicKey, p.PresharedKeyFile) {
			return false
		}
		delete(n.gone, p.Name)
	}
	return true
}

func (n *newcomers) add(name string, key, next keyring.PublicKey, file string) bool {
	return n.names.add(name, "") == nil && n.keys.add(key, "") == nil &&
		(next.IsZero() || n.keys.add(next, "") == nil) && (file == "" || n.files.add(file, "") == nil)
}

// among reports whether the newcomers share nothing with the peers that stayed.
func (n *newcomers) among(v *View, fresh []int) bool {
	prefixes := unique[netip.Prefix]{}
	for _, i := range fresh {
		for _, a := range v.Peers[i].AllowedIPs {
			if checkMasked(a) != nil || prefixes.add(a, "") != nil {
				return false
			}
		}
	}
	for i, next := 0, fresh; i < len(v.Peers); i++ {
		if len(next) > 0 && next[0] == i {
			next = next[1:]
			continue
		}
		p := &v.Peers[i]
		if n.names.has(p.Name) || n.keys.has(p.PublicKey) || !p.NextPublicKey.IsZero() && n.keys.has(p.NextPublicKey) ||
			p.PresharedKeyFile != "" && n.files.has(p.PresharedKeyFile) || slices.ContainsFunc(p.AllowedIPs, prefixes.has) {
			return false
		}
	}
	return true
}

func (d *difference) routesValid(v *View, gone map[string]bool) bool {
	fresh := unique[netip.Prefix]{}
	for _, i := range d.routes {
		r := &v.Routes[i]
		leads := slices.ContainsFunc(v.Peers, func(p Peer) bool { return p.Name == r.Peer })
		if !leads || r.check() != nil || fresh.add(r.Prefix, "") != nil {
			return false
		}
	}
	for i, next := 0, d.routes; i < len(v.Routes); i++ {
		if len(next) > 0 && next[0] == i {
			next = next[1:]
		} else if r := &v.Routes[i]; fresh.has(r.Prefix) || gone[r.Peer] {
			return false
		}
	}
	return true
}
