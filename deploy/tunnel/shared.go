package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"wgkeys/keyring/fault"
)

// Shared returns what a host has in two of its tunnels and only one can use: a file for a
// key, a port, a mark, a routing table, an address or a prefix. Each is reported at its line
// in the later tunnel. Unmanaged hosts are not checked.
func Shared(tunnels []*Tunnel) []Clash {
	var found []Clash
	for i, b := range tunnels {
		for _, a := range tunnels[:i] {
			for _, second := range b.sorted {
				if first, ok := a.hosts[second.name]; ok && !first.unmanaged() && !second.unmanaged() {
					c := clashes{a: a, b: b, first: first, second: second}
					c.find()
					found = append(found, c.found...)
				}
			}
		}
	}
	return found
}

// A Clash is one of them.
type Clash struct {
	Tunnel, Host string // the later tunnel
	*fault.Fault        // the error, at a line of a tunnel file
}

// clashes are those of a host in tunnels a and b.
type clashes struct {
	a, b          *Tunnel
	first, second *host
	found         []Clash
}

func (c *clashes) add(at pos, hint, format string, args ...any) {
	what := fmt.Sprintf("tunnels %s and %s want the same thing on host %s:", c.a.Name, c.b.Name, c.first.name)
	why := fmt.Sprintf(format, args...) + " is already that of " + c.a.Name
	c.found = append(c.found, Clash{c.b.Name, c.first.name, fault.NewLine(what, at.src.name, at.line, why, hint)})
}

func (c *clashes) find() {
	c.keyFiles()
	where := " under [hosts." + c.second.name + "] in " + Dir + "/" + c.b.Name + ext
	if port := c.b.listenPortOf(c.second); port != 0 && port == c.a.listenPortOf(c.first) {
		at := first(c.second.listenPort, c.b.listenPort).pos
		if !at.given() {
			at = c.second.pos
		}
		c.add(at, "write another listen_port ="+where, "port %d, OUTSIDE,", port)
	}
	if mark := c.second.fwmark; mark.val != 0 && mark.val == c.first.fwmark.val {
		c.add(mark.pos, "leave fwmark out, or write another"+where, "the mark %#x of encrypted packets", mark.val)
	}
	if table := c.second.table; tableOf(c.second) != tableNone && tableOf(c.second) == tableOf(c.first) {
		c.add(table.pos, "write another table ="+where, "routing table %d", table.val)
	}
	c.addresses()
	c.prefixes()
}

// SharedKeyFile is the error of a host that would keep a key of t in the same file as one of
// another tunnel; nil if each key has a file of its own.
func SharedKeyFile(other, t *Tunnel, host string) *fault.Fault {
	first, second := other.hosts[host], t.hosts[host]
	if first == nil || second == nil {
		return nil
	}
	c := clashes{a: other, b: t, first: first, second: second}
	c.keyFiles()
	if len(c.found) == 0 {
		return nil
	}
	return c.found[0].Fault
}

// keyFiles finds files in which the host would keep a key of each tunnel: a push of one key
// would replace the other. The files that nobody names have their tunnel's name.
func (c *clashes) keyFiles() {
	if !c.first.namesKeyFiles() && !c.second.namesKeyFiles() {
		return
	}
	taken, wanted := keyPlaces(c.a, c.first), keyPlaces(c.b, c.second)
	where := " = for host " + c.second.name + " in " + Dir + "/" + c.b.Name + ext
	for _, file := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := taken[file]; ok {
			key := wanted[file]
			c.add(key.pos, "write another "+key.val+where, "the key file %s", file)
		}
	}
}

func (h *host) namesKeyFiles() bool {
	named := func(peer string) bool { return h.pairs[peer].pskFile.given() }
	return h.privateKeyFile.given() || slices.ContainsFunc(h.paired(), named)
}

// keyPlaces are the files of h's keys, each with the setting that names it.
func keyPlaces(t *Tunnel, h *host) map[string]value[string] {
	private := first(h.privateKeyFile, value[string]{pos: h.pos}).pos
	places := map[string]value[string]{t.privateKeyFile(h): {"private_key_file", private}}
	for _, peer := range t.peers(h) {
		if !t.hasPSK(h, peer) {
			continue
		}
		if named := h.pair(peer.name).pskFile; named.given() {
			places[named.val] = value[string]{"psk_file", named.pos}
		} else {
			places[t.pskFile(h, peer)] = value[string]{"private_key_file", private}
		}
	}
	return places
}

// tableOf is the routing table of h's routes; none for main and if there are no routes.
func tableOf(h *host) int {
	if h.table.val == tableMain || h.table.val == tableOff {
		return tableNone
	}
	return h.table.val
}

// addresses finds an address that the host has twice, or a network that it is in twice:
// packets for other addresses of that would go to one of the two tunnels.
func (c *clashes) addresses() {
	has := map[netip.Addr]bool{}
	on := map[netip.Prefix]bool{}
	for _, a := range c.first.addresses.vals {
		has[a.val.Addr()] = true
		for n := range a.val.networks {
			on[n] = !n.IsSingleIP()
		}
	}
	for _, a := range c.second.addresses.vals {
		switch {
		case has[a.val.Addr()]:
			c.add(a.pos, "write another address of the host for one of the tunnels", "address %s, INSIDE,", a.val.Addr())
		default:
			c.networks(a, on)
		}
	}
}

func (c *clashes) networks(a value[address], on map[netip.Prefix]bool) {
	for n := range a.val.networks {
		if on[n] {
			c.add(a.pos, "write addresses of another network for one of the tunnels, or a single address (/32, /128) with routes",
				"network %s, INSIDE,", n)
		}
	}
}

// prefixes finds the first prefix that leads into both tunnels. With two metrics the lower
// one counts, and two tables each have their own rules: then it is intended.
func (c *clashes) prefixes() {
	if c.first.metric.val != c.second.metric.val || tableOf(c.first) != tableOf(c.second) {
		return
	}
	into := c.a.destinations(c.first)
	both := c.b.destinations(c.second)
	maps.DeleteFunc(both, func(p netip.Prefix, _ pos) bool { _, ok := into[p]; return !ok })
	if len(both) == 0 {
		return
	}
	prefixes := slices.SortedFunc(maps.Keys(both), netip.Prefix.Compare)
	more := ""
	if n := len(prefixes) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	c.add(both[prefixes[0]], "take it out of one of them, or write another metric = for the tunnel that is to have it "+
		"only when the other is down",
		"a route to %s, INSIDE%s,", prefixes[0], more)
}

// destinations are the prefixes that h routes into the tunnel, each once.
func (t *Tunnel) destinations(h *host) map[netip.Prefix]pos {
	prefixes := map[netip.Prefix]pos{}
	for _, peer := range t.peers(h) {
		for _, p := range routed(h, peer) {
			prefixes[p.val] = p.pos
		}
	}
	return prefixes
}
