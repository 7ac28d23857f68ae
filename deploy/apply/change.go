package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/words"
)

// A Change takes one thing in the kernel from an old state to a new one.
type Change interface {
	Resource() string  // the thing's name in the journal
	Inverse() []Change // what undoes it, in order
	String() string    // as one would type it for ip(8), wg(8) or sysctl(8)

	TouchesKernel() bool // it changes more than the journal

	// entries are what the journal, of which journal is what it says, has to say once
	// the change is made. A removal adds nothing. What the kernel sets along with it comes
	// first, so that the change itself is put back last.
	entries(journal Entries) []line

	// restores reports whether the change leaves the thing, whose entry is e, as it was
	// before us.
	restores(e Entry, journal Entries) bool

	// trusted reports whether plans take the journal's word for what the change has set,
	// because the kernel cannot tell: it is written when it is so, not before.
	trusted() bool

	// batched reports whether neighbouring changes of this kind may be made at once.
	batched() bool
}

// A Step is a change and its reason.
type Step struct {
	Change Change
	Why    string
}

// A LinkChange makes (Old nil), changes or removes (New nil) an interface.
type LinkChange struct {
	Name        string
	Old, New    *Link
	SideEffects []SideEffect
}

// A SideEffect is a kernel parameter that the kernel sets by itself along with a
// change, and which down has to put back. Was is as in a [SysctlChange].
type SideEffect struct{ Key, Old, Set, Was string }

// A DeviceChange sets a device's private key, port and mark.
type DeviceChange struct {
	Link     string
	Old, New Device
}

// A PeerChange adds (Old nil), changes or removes (New nil) a peer.
//
// The kernel gives a prefix to one peer at a time and moves it when another
// one claims it. So a prefix that changes hands appears in two changes: in
// Took of the one and in Gave of the other, which must then not drop it.
type PeerChange struct {
	Link, Name string // Name is the peer's host, where it is known
	Old, New   *Peer
	Took, Gave []netip.Prefix
}

// An AddressChange adds or removes an INSIDE address of the link.
type AddressChange struct {
	Link   string
	Prefix netip.Prefix
	Add    bool
}

// A RouteChange adds (Old nil), replaces or removes (New nil) a route through
// the link. A route is replaced, at once, by one of the same prefix, metric and
// table.
type RouteChange struct {
	Link     string
	Old, New *Route
}

// A ProxyChange adds or removes a proxy neighbour.
type ProxyChange struct {
	Proxy Proxy
	Add   bool
}

// A SysctlChange sets one kernel parameter. Key is its path below /proc/sys.
// Was is the value to put back in the end: another tunnel of ours may have set
// Old. Where Old is "" nothing is known of the parameter, and nothing put back.
type SysctlChange struct {
	Key, Old, New, Was string
	SideEffects        []SideEffect
}

// A ShareChange touches the journal alone: the parameter is as wanted because
// another tunnel set it, and is put back by the last of them.
type ShareChange struct{ Key, Was, Set string }

// A ReleaseChange touches the journal alone: the parameter is left as it is,
// to another tunnel or to whoever changed it since. Was and Set are its entry's.
type ReleaseChange struct{ Key, Was, Set string }

func (c LinkChange) Resource() string    { return "link " + c.Name }
func (c DeviceChange) Resource() string  { return "device " + c.Link }
func (c PeerChange) Resource() string    { return resourceOfPeer(c.key()) }
func (c AddressChange) Resource() string { return "address " + c.Prefix.String() }
func (c RouteChange) Resource() string   { return c.any().resource() }
func (c ProxyChange) Resource() string   { return "proxy " + c.Proxy.String() }
func (c SysctlChange) Resource() string  { return "sysctl " + c.Key }
func (c ShareChange) Resource() string   { return "sysctl " + c.Key }
func (c ReleaseChange) Resource() string { return "sysctl " + c.Key }

func (c LinkChange) Inverse() []Change {
	return append([]Change{LinkChange{Name: c.Name, Old: c.New, New: c.Old}}, putBack(c.SideEffects)...)
}

func (c DeviceChange) Inverse() []Change {
	return []Change{DeviceChange{c.Link, c.New, c.Old}}
}

func (c PeerChange) Inverse() []Change {
	return []Change{PeerChange{c.Link, c.Name, c.New, c.Old, c.Gave, c.Took}}
}

func (c AddressChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }
func (c RouteChange) Inverse() []Change   { return []Change{RouteChange{c.Link, c.New, c.Old}} }
func (c ProxyChange) Inverse() []Change   { c.Add = !c.Add; return []Change{c} }

func (c SysctlChange) Inverse() []Change {
	if c.Old == "" {
		return nil
	}
	back := SysctlChange{Key: c.Key, Old: c.New, New: c.Old}
	for _, d := range c.SideEffects {
		value := c.Old
		if d.Key == redirects {
			value = opposite(value)
		}
		back.SideEffects = append(back.SideEffects, SideEffect{Key: d.Key, Old: d.Set, Set: value})
	}
	return append([]Change{back}, putBack(c.SideEffects)...)
}

func (c ShareChange) Inverse() []Change   { return []Change{ReleaseChange(c)} }
func (c ReleaseChange) Inverse() []Change { return []Change{ShareChange(c)} }

func putBack(effects []SideEffect) []Change {
	var back []Change
	for _, d := range effects {
		back = append(back, SysctlChange{Key: d.Key, Old: d.Set, New: d.Old})
	}
	return back
}

func (c RouteChange) any() *Route {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

func (c PeerChange) key() keyring.PublicKey {
	if c.New != nil {
		return c.New.PublicKey
	}
	return c.Old.PublicKey
}

// Gained returns the prefixes that the peer is allowed from now on, and Lost
// those that it drops and nobody takes.
func (c PeerChange) Gained() []netip.Prefix { return subtract(c.New.prefixes(), c.Old.prefixes()) }

// Lost: see Gained.
func (c PeerChange) Lost() []netip.Prefix {
	return subtract(subtract(c.Old.prefixes(), c.New.prefixes()), c.Gave)
}

func (p *Peer) prefixes() []netip.Prefix {
	if p == nil {
		return nil
	}
	return p.AllowedIPs
}

// subtract returns what a has and b has not.
func subtract[T comparable](a, b []T) []T {
	switch {
	case len(b) == 0:
		return a
	case slices.Equal(a, b): // almost every peer of a plan
		return nil
	}
	if len(a)*len(b) <= 64 {
		return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return slices.Contains(b, x) })
	}
	has := make(map[T]bool, len(b))
	for _, x := range b {
		has[x] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return has[x] })
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

func (c PeerChange) String() string {
	s := fmt.Sprintf("wg set %s peer %s", c.Link, c.key())
	if c.New == nil {
		return s + " remove"
	}
	old := c.Old
	if old == nil {
		old = &Peer{}
	}
	if c.New.PSK != old.PSK {
		file := c.New.PresharedKeyFile
		if c.New.PSK == "" {
			file = "/dev/null"
		}
		s += " preshared-key " + file
	}
	if c.New.Endpoint.IsValid() && c.New.Endpoint != old.Endpoint {
		s += " endpoint " + c.New.Endpoint.String()
	}
	if c.New.Keepalive != old.Keepalive {
		s += fmt.Sprintf(" persistent-keepalive %d", c.New.Keepalive)
	}
	return s + signed(" allowed-ips ", c.Gained(), subtract(old.AllowedIPs, c.New.AllowedIPs))
}

// signed lists prefixes as wg(8) takes them since 1.0.20250521: +added, -removed.
func signed(name string, added, removed []netip.Prefix) string {
	var list []string
	for _, p := range added {
		list = append(list, "+"+p.String())
	}
	for _, p := range removed {
		list = append(list, "-"+p.String())
	}
	if list == nil {
		return ""
	}
	return name + strings.Join(list, ",")
}

func (c AddressChange) String() string {
	family := Route{Prefix: c.Prefix}.family()
	return fmt.Sprintf("ip %s address %s %s dev %s", family, verb(c.Add), c.Prefix, c.Link)
}

func (c RouteChange) String() string {
	do, r := "add", c.any()
	switch {
	case c.New == nil:
		do = "del"
	case c.Old != nil:
		do = "replace"
	}
	s := fmt.Sprintf("ip %s route %s %s", r.family(), do, r.Prefix)
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	s += " dev " + c.Link
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.Table != 0 {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

func (c ProxyChange) String() string {
	return fmt.Sprintf("ip -6 neigh %s proxy %s dev %s", verb(c.Add), c.Proxy.Addr, c.Proxy.Link)
}

func (c SysctlChange) String() string {
	return fmt.Sprintf("sysctl -w %s=%s", sysctlName(c.Key), words.ForShell(c.New))
}

func (c ShareChange) String() string {
	return fmt.Sprintf("# %s=%s is set already", sysctlName(c.Key), c.Set)
}

func (c ReleaseChange) String() string {
	return fmt.Sprintf("# %s stays as it is", sysctlName(c.Key))
}

// sysctlName spells a path as sysctl(8) shows it: dots for slashes, and slashes
// for the dots of an interface's name.
func sysctlName(path string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, path)
}

func verb(add bool) string {
	if add {
		return "add"
	}
	return "del"
}

// key is what the kernel tells routes apart by.
func (r Route) key() Route { r.Gateway = netip.Addr{}; return r }

func (r Route) resource() string { return fmt.Sprintf("route %s %d %d", r.Prefix, r.Metric, r.Table) }

func (p Proxy) String() string { return p.Addr.String() + " " + p.Link }
