// Package draft makes a tunnel file from the files of other programs.
//
// Devices of several hosts are joined by their public keys: if a peer of one device is the
// interface of another, the peer is that host. A peer whose own files are not given becomes
// a host with managed = false: nobody logs in to it, and it keeps its key. In the end the
// tunnel file is compared with the devices, host by host, so that differences are reported
// here and not found out in the network.
package draft

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/parallel"
)

// A Draft is a tunnel that is not in a repository yet.
type Draft struct {
	Tunnel string
	Text   []byte // of the tunnel file; it has no secrets
	Hosts  []Host // by name
	Pairs  []Pair // pairs with a preshared key, by name
	Left   []foreign.Left
}

// A Host is a host of a draft.
type Host struct {
	Name       string
	Managed    bool
	PublicKey  keyring.PublicKey  // zero: not in any file
	PrivateKey keyring.PrivateKey // zero: not in its files
	KeyFile    string             // path on the host, if its files have only that
}

// A Pair is two hosts that share a preshared key.
type Pair struct {
	A, B string // A < B
	Key  keyring.PresharedKey
	File string // path on A or B, if the files have only that
}

// Make makes a tunnel from devices, which have the same interface name and each the name of
// its host. An error is something that no tunnel file can express, whatever is left out.
func Make(devices []*foreign.Device) (*Draft, error) {
	for {
		d, err := attempt(devices)
		if err != errAgain {
			return d, err
		}
	}
}

// each calls do for every host, for several at the same time if there are many.
func each(hosts []*host, do func(*host)) {
	parts := parallel.Ranges(len(hosts), fewHosts)
	parallel.Each(len(parts), func(i int) {
		for _, h := range hosts[parts[i].From:parts[i].To] {
			do(h)
		}
	})
}

// errAgain says that an endpoint was removed from the devices. Other lines may depend on
// it, so the draft has to be made again.
var errAgain = errors.New("an endpoint is left out")

func attempt(devices []*foreign.Device) (*Draft, error) {
	many := 0 // upper bound of the number of hosts
	for _, d := range devices {
		many += 1 + len(d.Peers)
	}
	m := &maker{Draft: &Draft{Tunnel: devices[0].Name}, list: make([]*host, 0, many), byName: make(map[string]*host, many),
		byKey: make(map[keyring.PublicKey]*host, many), pairAt: map[[2]string]int{},
		owners: make(map[netip.Addr]*host, many), opened: map[string]bool{},
		numbers: map[string]int{}}
	if err := tunnel.CheckName(m.Tunnel); err != nil {
		at := devices[0].Pos
		return nil, fault.WrapLine(err, "no tunnel can be named as the interface", at.File, at.Line, "-t NAME names it")
	}
	if err := m.hosts(devices); err != nil {
		return nil, err
	}
	if err := m.peers(); err != nil {
		return nil, err
	}
	for _, h := range m.list {
		m.endpoint(h)
		m.mute(h)
	}
	if err := m.unmet(); err != nil {
		return nil, err
	}
	m.list = slices.DeleteFunc(m.list, func(h *host) bool { return h.d == nil && len(h.mentions) == 0 })
	inOrder := slices.Clone(m.list)
	parallel.Do(len(m.list) >= fewHosts, m.own, func() { slices.SortFunc(inOrder, byOrder) })
	each(m.list, m.claims)
	for _, h := range m.list {
		m.routing(h)
		h.keepalive = keepalive(h)
	}
	m.list = inOrder
	c := &check{maker: m, from: m.write()}
	if err := c.verify(); err != nil {
		return nil, err
	}
	m.fill()
	return m.Draft, nil
}

// byOrder sorts the hosts with files of their own before those that they only mention. Both
// are sorted by name, as in a view, so that the hosts of an exported tunnel keep their
// order.
func byOrder(a, b *host) int {
	switch {
	case a.d != nil && b.d == nil:
		return -1
	case a.d == nil && b.d != nil:
		return 1
	}
	return strings.Compare(a.name, b.name)
}

// A maker makes one draft.
type maker struct {
	*Draft
	list   []*host // in the order of the files; later sorted by byOrder
	byName map[string]*host
	byKey  map[keyring.PublicKey]*host
	pairAt map[[2]string]int // index in Pairs
	owners map[netip.Addr]*host
	opened map[string]bool // names in comments "NAME begin"

	numbers map[string]int // the last number given to a name; see free
}

// A host becomes a table of the tunnel file.
type host struct {
	name        string
	description string
	comment     []string
	key         keyring.PublicKey
	d           *foreign.Device // nil: it has no files of its own
	entries     []*entry        // the peers of its device
	mentions    []*entry        // the entries for it in the devices of others

	endpoint  string // the endpoint that its peers get unless they have their own
	reachable bool
	addresses []string
	routes    []string
	kept      []foreign.Route // those of its device that are written
	off       bool            // table = "off"
	keepalive int             // of all its entries; 0 if they differ

	seen *tunnel.Peer // in the view that is compared
}

// An entry is a peer of a host's device.
type entry struct {
	of, peer *host
	p        *foreign.Peer
	allowed  bool     // allowed_ips is written for the pair
	routes   []string // routes of the pair
	written  bool     // routes is written for the pair, even if empty
}

// hosts makes a host for each device.
func (m *maker) hosts(devices []*foreign.Device) error {
	for _, d := range devices {
		if err := keyring.CheckHost(d.Host); err != nil {
			return fault.WrapFile(err, "no host can be named "+d.Host+" for", d.Pos.File, "--host NAME, or NAME=FILE, names it")
		}
		if old := m.byName[d.Host]; old != nil {
			return fault.NewFile("two interfaces of one host for", d.Pos.File,
				"host "+d.Host+" has "+m.Tunnel+" already, by "+old.d.Pos.File, "NAME=FILE names the host of each file")
		}
		described, comment := foreign.DescribedIn(without(d.Comment, d.Host))
		h := &host{name: d.Host, d: d, comment: comment, description: cmp.Or(d.Description, described)}
		if !d.PrivateKey.IsZero() {
			h.key = d.PrivateKey.PublicKey()
			if old := m.byKey[h.key]; old != nil {
				return fault.NewFile("two hosts with one private key:", d.Pos.File, "that of "+old.d.Pos.File+" is the same", "")
			}
			m.byKey[h.key] = h
		}
		m.list, m.byName[h.name] = append(m.list, h), h
		unsayable(d)
		m.Left = append(m.Left, d.Left...)
	}
	return nil
}

// without drops comments that are only the host's name.
func without(comments []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(comments), func(c string) bool { return c == name })
}

// peers makes a host for each peer that is not one already.
func (m *maker) peers() error {
	own := slices.Clone(m.list)
	for _, h := range own {
		entries := make([]entry, len(h.d.Peers)) // at once, since there may be thousands
		var met error
		var names []string
		parallel.Do(len(entries) >= fewHosts,
			func() { met = m.meet(h, entries, own) }, func() { names = unspoken(h.d.Peers) })
		if err := m.call(entries, names); err != nil {
			return err
		}
		if met != nil {
			return met
		}
	}
	return nil
}

// meet makes an entry for each peer of h, up to one that is an error. The hosts that are not
// among the others have no name yet.
func (m *maker) meet(h *host, entries []entry, own []*host) error {
	hosts, mentions := make([]host, len(entries)), make([]*entry, len(entries))
	h.entries = make([]*entry, 0, len(entries))
	for i := range entries {
		p, e := &h.d.Peers[i], &entries[i]
		if err := notPrivate(p, own); err != nil {
			return err
		}
		peer := m.byKey[p.PublicKey]
		switch peer {
		case h:
			m.leave(p.Pos, "[Peer]", "it has the key of the interface itself, and WireGuard has no such peer")
			continue
		case nil:
			peer = &hosts[i]
			peer.key, peer.mentions = p.PublicKey, mentions[i:i:i+1]
			m.byKey[p.PublicKey] = peer
		}
		e.of, e.peer, e.p = h, peer, p
		h.entries, peer.mentions = append(h.entries, e), append(peer.mentions, e)
	}
	return nil
}

// call names the new hosts among the peers of a host, each after what is written beside it or
// else as in names, and records the preshared keys.
func (m *maker) call(entries []entry, names []string) error {
	for i := range entries {
		e := &entries[i]
		if e.p == nil {
			continue
		}
		if peer := e.peer; peer.name == "" {
			if names[i] == "" {
				names[i] = "peer" + strconv.Itoa(len(m.list))
			}
			peer.name, peer.description, peer.comment = m.nameFor(e.p, names[i])
			m.list, m.byName[peer.name] = append(m.list, peer), peer
		}
		if err := m.psk(e); err != nil {
			return err
		}
	}
	return nil
}

// notPrivate returns an error if a peer's public key is the private key of a device: it
// would get into the keyring, for everybody to read.
func notPrivate(p *foreign.Peer, devices []*host) error {
	if !p.PublicKey.MayBePrivate() {
		return nil
	}
	for _, h := range devices {
		if h.d.PrivateKey.Is(p.PublicKey) {
			return fault.NewLine("no public key in the peer of", p.Pos.File, p.Pos.Line,
				"it is the private key of host "+h.name+", in the clear",
				"put the peer's own there: wg pubkey, on the peer, makes it from its private key")
		}
	}
	return nil
}

func (m *maker) leave(at foreign.Pos, what, why string) {
	m.Left = append(m.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// psk records the preshared key of an entry. It is an error if the other host has a
// different one, because no packet could pass.
func (m *maker) psk(e *entry) error {
	if e.p.PresharedKey.IsZero() && e.p.PresharedKeyFile == "" {
		return nil
	}
	a, b := min(e.of.name, e.peer.name), max(e.of.name, e.peer.name)
	pair := Pair{A: a, B: b, Key: e.p.PresharedKey}
	if pair.Key.IsZero() {
		pair.File = e.p.PresharedKeyFile
	}
	i, known := m.pairAt[[2]string{a, b}]
	switch {
	case !known:
		m.pairAt[[2]string{a, b}] = len(m.Pairs)
		m.Pairs = append(m.Pairs, pair)
	case m.Pairs[i].Key.IsZero():
		m.Pairs[i] = pair
	case !pair.Key.IsZero() && !pair.Key.Equal(m.Pairs[i].Key):
		return fault.NewLine("two preshared keys of one pair of hosts:", e.p.Pos.File, e.p.Pos.Line,
			"the file of "+e.peer.name+" has another one, so the two do not reach each other",
			"take in the one that is right: wg show "+m.Tunnel+" preshared-keys")
	}
	return nil
}

// own returns the addresses that h has according to its own files.
func (h *host) own() (list []netip.Addr) {
	if h.d != nil {
		for _, a := range h.d.Addresses {
			list = append(list, a.Local.Addr())
		}
	}
	return list
}

// unsayable removes from d what a tunnel file cannot express for a single host.
func unsayable(d *foreign.Device) {
	d.SettleMasquerade()
	d.SettleForward()
	d.SettleSources()
	d.SettleRules()
	oneLength(d)
	for _, key := range sorted(d.Sysctls) {
		if err := tunnel.CheckSysctl(key, d.Sysctls[key]); err != nil {
			d.Left = append(d.Left, foreign.Left{Pos: d.Where("sysctls " + key), What: "sysctl " + key, Why: err.Error()})
			delete(d.Sysctls, key)
		}
	}
	for i, err := range wrongEndpoints(d.Peers) {
		if err != nil {
			unsend(d, &d.Peers[i], err.Error())
		}
	}
}

// wrongEndpoints returns for each peer why a tunnel file cannot have its endpoint, or nil.
func wrongEndpoints(peers []foreign.Peer) []error {
	errs := make([]error, len(peers))
	parts := parallel.Ranges(len(peers), fewHosts)
	parallel.Each(len(parts), func(n int) {
		for i := parts[n].From; i < parts[n].To; i++ {
			if at := peers[i].Endpoint; at != "" {
				errs[i] = tunnel.CheckEndpoint(at)
			}
		}
	})
	return errs
}

// oneLength drops duplicates of an address with a longer prefix: the shortest prefix has
// the network.
func oneLength(d *foreign.Device) {
	widest := map[netip.Addr]netip.Prefix{}
	for _, a := range d.Addresses {
		if has, ok := widest[a.Local.Addr()]; !ok || a.Local.Bits() < has.Bits() {
			widest[a.Local.Addr()] = a.Local
		}
	}
	d.Addresses = slices.DeleteFunc(d.Addresses, func(a foreign.Address) bool {
		has := widest[a.Local.Addr()]
		if has == a.Local {
			return false
		}
		d.Left = append(d.Left, foreign.Left{Pos: cmp.Or(a.Pos, d.Where("addresses")), What: "Address " + a.Local.String(),
			Why: "it is there as " + has.String() + " too, and a tunnel has an address once"})
		return true
	})
}

// unsend removes the endpoint of a peer, with a reason.
func unsend(d *foreign.Device, p *foreign.Peer, why string) {
	d.Left = append(d.Left, foreign.Left{Pos: p.Where("endpoint"), What: "Endpoint", Why: why})
	p.Endpoint = ""
}

// endpoint decides where the peers of h send to, and whether h is reachable at all.
func (m *maker) endpoint(h *host) {
	var all []string
	for _, e := range h.mentions {
		if e.p.Endpoint != "" && !slices.Contains(all, e.p.Endpoint) {
			all = append(all, e.p.Endpoint)
		}
	}
	if len(all) > 0 {
		h.endpoint = all[0]
	}
	if h.d == nil || h.endpoint != "" {
		return
	}
	for _, e := range h.entries {
		h.reachable = h.reachable || e.p.Endpoint == "" && e.peer.d == nil
	}
}

// mute drops peers of h that can never reach it, and are not reachable themselves: they
// have no endpoint, and h listens on a random port.
func (m *maker) mute(h *host) {
	if !h.reachable || h.d.ListenPort != 0 {
		return
	}
	h.reachable = false
	why := "it has no Endpoint, and without a ListenPort nobody knows where this host is: wg show " + m.Tunnel +
		" listen-port has the one that it may have kept"
	m.part(h, why, func(e *entry) bool { return e.p.Endpoint == "" && e.peer.d == nil })
}

// unmet drops peers that have files of their own if nobody knows where either of the two is. In
// a full mesh, hosts that only connect to others have each other as peers, too. It is an error if a
// host has no other peer.
func (m *maker) unmet() error {
	known := func(h *host) bool { return h.endpoint != "" || h.reachable }
	var alone []*host
	for _, h := range m.list {
		if h.d == nil || known(h) || len(h.entries) == 0 {
			continue
		}
		m.part(h, "neither of the two has an Endpoint in any file, so they cannot find each other",
			func(e *entry) bool { return e.peer.d != nil && !known(e.peer) })
		if len(h.entries) == 0 {
			alone = append(alone, h)
		}
	}
	for _, h := range alone {
		if len(h.mentions) == 0 {
			return fault.NewLine("no peer finds host "+h.name+" of", h.d.Pos.File, h.d.Pos.Line,
				"no file has an Endpoint for it, or for a peer of it", "write Endpoint = ADDRESS:PORT into [Peer] of one of the files")
		}
	}
	return nil
}

// part removes entries of h, and the preshared keys that they share with it.
func (m *maker) part(h *host, why string, removes func(*entry) bool) {
	gone := map[[2]string]bool{}
	h.entries = slices.DeleteFunc(h.entries, func(e *entry) bool {
		if !removes(e) {
			return false
		}
		m.leave(e.p.Pos, "[Peer] "+e.peer.name, why)
		e.peer.mentions = slices.DeleteFunc(e.peer.mentions, func(o *entry) bool { return o == e })
		gone[[2]string{min(h.name, e.peer.name), max(h.name, e.peer.name)}] = true
		return true
	})
	m.Pairs = slices.DeleteFunc(m.Pairs, func(p Pair) bool { return gone[[2]string{p.A, p.B}] })
}

// fill sets what goes into the keyring and the vault.
func (m *maker) fill() {
	m.Hosts = make([]Host, 0, len(m.list))
	for _, h := range m.list {
		f := Host{Name: h.name, Managed: h.d != nil, PublicKey: h.key}
		if h.d != nil {
			f.PrivateKey = h.d.PrivateKey
			if f.PrivateKey.IsZero() {
				f.KeyFile = h.d.PrivateKeyFile
			}
		}
		m.Hosts = append(m.Hosts, f)
	}
	slices.SortFunc(m.Hosts, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(m.Pairs, func(a, b Pair) int { return cmp.Or(strings.Compare(a.A, b.A), strings.Compare(a.B, b.B)) })
	for i := range m.Left {
		l := &m.Left[i]
		l.What, l.Why = foreign.Unkeyed(l.What), foreign.Unkeyed(l.Why)
	}
	slices.SortStableFunc(m.Left, func(a, b foreign.Left) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
}

// known returns the public key of a host. If it is unknown, a made-up one is used to compare
// the views.
func (m *maker) known(name string) keyring.PublicKey {
	h := m.byName[name]
	switch {
	case h == nil:
		return keyring.PublicKey{}
	case h.key.IsZero():
		i := slices.Index(m.list, h)
		return keyring.PublicKey{0: 9, 1: byte(i), 2: byte(i >> 8), 31: 1}
	}
	return h.key
}

// sorted returns the keys of a map in order.
func sorted[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }
