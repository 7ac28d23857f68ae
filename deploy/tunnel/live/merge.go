package live

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// A Difference is a setting for which an interface and its file differ.
type Difference struct {
	Pos          foreign.Pos // in the file
	What         string      // "listen port"
	File, Kernel string      // values; never a secret
}

func (d Difference) String() string {
	return fmt.Sprintf("%s:%d: %s: the file has %s, the kernel %s", d.Pos.File, d.Pos.Line, d.What, d.File, d.Kernel)
}

// Merge merges the kernel's state of an interface with its file. Where they differ the
// kernel counts. What the kernel does not have comes from the file: comments, names,
// endpoints as names, resolvers, forwarding. File may be nil.
func (h *Host) Merge(kernel, file *foreign.Device) (*foreign.Device, []Difference) {
	if file == nil {
		d := *kernel
		d.Forward = h.forwards && len(d.Peers) > 1
		return &d, nil
	}
	m := &merging{kernel: kernel, d: *file}
	m.own()
	m.addresses()
	m.peers()
	m.routes()
	return &m.d, m.differences
}

// A merging turns d from the file's device into the merged one.
type merging struct {
	kernel      *foreign.Device
	d           foreign.Device
	differences []Difference
}

func (m *merging) differ(at foreign.Pos, what string, file, kernel any) {
	m.differences = append(m.differences, Difference{at, what, fmt.Sprint(file), fmt.Sprint(kernel)})
}

// number merges a number, of which key is that of the tunnel file. 0 in the file leaves the
// choice to the program.
func (m *merging) number(what, key string, file *int, kernel int) {
	if *file != 0 && *file != kernel {
		m.differ(m.d.Where(key), what, *file, kernel)
		*file = kernel
	}
}

// own merges the interface's own key and numbers.
func (m *merging) own() {
	d, k := &m.d, m.kernel
	if file, kernel := ofKey(d.PrivateKey), ofKey(k.PrivateKey); !d.PrivateKey.IsZero() && file != kernel {
		m.differ(d.Where("PrivateKey"), "private key", file, kernel)
	}
	d.PrivateKey, d.Conf = k.PrivateKey, ""
	m.number("listen port", "listen_port", &d.ListenPort, k.ListenPort)
	if d.MTU != 0 {
		mtu := k.MTU
		if mtu == 0 {
			mtu = usualMTU
		}
		m.number("mtu", "mtu", &d.MTU, mtu)
	}
	mark := int(d.FwMark)
	if k.FwMark != 0 || mark == 0 { // otherwise it may be the mark of its policy routing
		m.number("mark", "fwmark", &mark, int(k.FwMark))
	}
	d.FwMark = uint32(mark)
	if d.FwMark == 0 {
		d.FwMark = k.FwMark
	}
}

// ofKey describes a private key by its public key.
func ofKey(k keyring.PrivateKey) string {
	if k.IsZero() {
		return "none"
	}
	return "that of " + k.PublicKey().String()
}

func (m *merging) addresses() {
	spell := func(list []foreign.Address) (all []string) {
		for _, a := range list {
			s := a.Local.String()
			if a.Remote.IsValid() {
				s = a.Local.Addr().String() + " peer " + a.Remote.String()
			}
			all = append(all, s)
		}
		slices.Sort(all)
		return all
	}
	if file, kernel := spell(m.d.Addresses), spell(m.kernel.Addresses); !slices.Equal(file, kernel) {
		m.differ(m.d.Where("addresses"), "addresses", list(file), list(kernel))
		m.d.Addresses = m.kernel.Addresses
	}
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// peers keeps the peers that the kernel has: those of the file in its order, then the
// others.
func (m *merging) peers() {
	live := map[keyring.PublicKey]*foreign.Peer{}
	for i := range m.kernel.Peers {
		live[m.kernel.Peers[i].PublicKey] = &m.kernel.Peers[i]
	}
	var peers []foreign.Peer
	for _, p := range m.d.Peers {
		k := live[p.PublicKey]
		if k == nil {
			m.differ(p.Pos, "peer "+p.PublicKey.String(), "it", "none")
			continue
		}
		delete(live, p.PublicKey)
		peers = append(peers, m.peer(p, k))
	}
	for _, k := range m.kernel.Peers {
		if live[k.PublicKey] != nil {
			m.differ(m.d.Pos, "peer "+k.PublicKey.String(), "none", "it")
			peers = append(peers, k)
		}
	}
	m.d.Peers = peers
}

// peer merges a peer. The endpoint is the file's, because the kernel's may be what a name
// resolved to, or where a roaming peer was last seen.
func (m *merging) peer(p foreign.Peer, k *foreign.Peer) foreign.Peer {
	who := "peer " + p.PublicKey.String()
	m.atPeer(p.Pos, who+": keepalive", &p.Keepalive, k.Keepalive)
	if !samePrefixes(p.AllowedIPs, k.AllowedIPs) {
		m.differ(p.Pos, who+": allowed IPs", list(spelled(p.AllowedIPs)), list(spelled(k.AllowedIPs)))
		p.AllowedIPs = k.AllowedIPs
	}
	if !p.PresharedKey.IsZero() && !p.PresharedKey.Equal(k.PresharedKey) {
		other := "another"
		if k.PresharedKey.IsZero() {
			other = "none"
		}
		m.differ(p.Pos, who+": preshared key", "one", other)
	}
	p.PresharedKey, p.PresharedKeyFile = k.PresharedKey, ""
	return p
}

func (m *merging) atPeer(at foreign.Pos, what string, file *int, kernel int) {
	if *file != kernel {
		m.differ(at, what, *file, kernel)
		*file = kernel
	}
}

func spelled(prefixes []netip.Prefix) (words []string) {
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	slices.Sort(words)
	return words
}

func samePrefixes(a, b []netip.Prefix) bool { return slices.Equal(spelled(a), spelled(b)) }

// routes compares the routes that the program makes for the file with the kernel's. A
// program leaves out routes that a wider one covers.
func (m *merging) routes() {
	wanted := m.ofFile()
	var only, missing []string
	for _, r := range m.kernel.Routes {
		if !slices.ContainsFunc(wanted, func(w foreign.Route) bool { return w.Prefix == r.Prefix }) {
			only = append(only, r.Prefix.String())
		}
	}
	for _, w := range wanted {
		there := slices.ContainsFunc(m.kernel.Routes, func(r foreign.Route) bool { return r.Prefix == w.Prefix })
		if !there && !m.covered(w.Prefix) {
			missing = append(missing, w.Prefix.String())
		}
	}
	if only == nil && missing == nil {
		return
	}
	if only != nil {
		m.differ(m.d.Pos, "routes", "none", list(only))
	}
	if missing != nil {
		m.differ(m.d.Pos, "routes", list(missing), "none")
	}
	for i := range m.d.Peers {
		m.d.Peers[i].Routed = false
	}
	m.d.Routes = m.kernel.Routes
}

// ofFile returns the routes that the program makes for the file.
func (m *merging) ofFile() (all []foreign.Route) {
	for _, p := range m.d.Peers {
		for _, a := range p.AllowedIPs {
			if p.Routed {
				all = append(all, foreign.Route{Prefix: a.Masked()})
			}
		}
	}
	return append(all, m.d.Routes...)
}

// covered reports whether a wider route, or the network of an address, covers the prefix.
func (m *merging) covered(prefix netip.Prefix) bool {
	within := func(p netip.Prefix) bool { return p.Bits() <= prefix.Bits() && p.Contains(prefix.Addr()) }
	for _, a := range m.kernel.Addresses {
		if within(a.Local.Masked()) || a.Remote.IsValid() && within(a.Remote) {
			return true
		}
	}
	return slices.ContainsFunc(m.kernel.Routes, func(r foreign.Route) bool {
		return r.Prefix.Bits() < prefix.Bits() && within(r.Prefix)
	})
}
