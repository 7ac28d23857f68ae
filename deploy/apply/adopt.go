package apply

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// Adopted is what a running tunnel had from the program that made it, when wgkeys took it
// over: what [GiveBack] keeps for that program, or makes again.
type Adopted struct {
	FwMark     uint32
	ListenPort int
	MTU        int // bytes
	Addresses  []Address
	Connected  []netip.Prefix // routes that the kernel made with them
	Routes     []Route
	Rules      []Rule

	PublicKey keyring.PublicKey
	PSKs      map[keyring.PublicKey]string // the peers, and the fingerprints of their preshared keys
	Wanted    map[keyring.PublicKey]bool   // those that are also in the view

	Elsewhere map[netip.Addr]bool // addresses that another interface has as well
	NewDNS    bool                // the resolver had nothing under the name that wgkeys uses
}

// Adopt writes to the journal that wgkeys made a link which another program made, and what
// belongs to it: then the next plan is for the differences of the view, and down removes
// everything. Kernel parameters are left out, since their former values are not known: down
// does not change them. The journal is not saved.
//
// It is an error if the interface does not exist, is not a tunnel, has another key than the
// view, or was made by wgkeys already.
func Adopt(view *tunnel.View, state *State, mine *journal.Journal) (*Adopted, error) {
	name := view.Tunnel
	switch {
	case len(mine.Entries) > 0:
		return nil, fault.New("cannot take over tunnel", name, "wgkeys applied it already",
			"wgkeys plan -t "+name)
	case state.Link == nil:
		return nil, fault.New("cannot take over tunnel", name, "no interface has its name",
			"wgkeys apply -t "+name)
	case state.Link.Kind != "wireguard" && state.Link.Kind != "tun":
		return nil, fault.New("cannot take over tunnel", name,
			"its interface is of the kind "+state.Link.Kind+", no tunnel's", "ip -d link show "+name)
	case state.Device.PublicKey != view.PublicKey:
		return nil, fault.New("another tunnel runs on the interface", name,
			"its public key is "+state.Device.PublicKey.String()+", and the keyring has "+
				view.PublicKey.Spelled(state.Device.PublicKey)+
				" for "+view.Host,
			"wgkeys import --live -n shows what runs here")
	}
	mine.Set(LinkChange{Name: name}.Resource(), journal.Entry{Set: strconv.Itoa(state.LinkIndex)})
	was := &Adopted{
		FwMark: state.Device.FwMark, ListenPort: state.Device.ListenPort, MTU: state.Link.MTU, Addresses: state.Addresses,
		Connected: state.Connected, Routes: state.Routes,
		Rules: itsRules(state), Elsewhere: map[netip.Addr]bool{}, NewDNS: view.DNS != nil && !state.HasDNS,
		PublicKey: state.Device.PublicKey, PSKs: map[keyring.PublicKey]string{}, Wanted: map[keyring.PublicKey]bool{},
	}
	for i := range state.Peers {
		was.PSKs[state.Peers[i].PublicKey] = state.Peers[i].PSK
	}
	for _, a := range state.Hurdles.Addresses {
		was.Elsewhere[a.Addr] = true
	}
	for _, c := range was.changes(name) {
		for _, e := range c.entries(mine.Entries) {
			mine.Set(e.resource, e.Entry)
		}
	}
	adoptPeers(view, state, mine, was)
	return was, nil
}

// changes are those that would have made it.
func (a *Adopted) changes(link string) (all []Change) {
	for _, x := range a.Addresses {
		all = append(all, AddressChange{link, x, true})
	}
	for i := range a.Routes {
		all = append(all, RouteChange{link, nil, &a.Routes[i]})
	}
	for _, r := range a.Rules {
		all = append(all, RuleChange{r, true})
	}
	return all
}

// Outdated says which key of a tunnel that was taken over was replaced or removed since, by
// the view that was applied last and the live state; "" if none was. The files of the
// program that made it have the old key.
func (a *Adopted) Outdated(view *tunnel.View, state *State) string {
	if view.PublicKey != a.PublicKey {
		return "this host's own key was replaced since"
	}
	now := map[keyring.PublicKey]bool{}
	for i := range view.Peers {
		now[view.Peers[i].PublicKey] = true
	}
	for key := range a.PSKs {
		if a.Wanted[key] && !now[key] {
			return "the key of peer " + key.String() + " was replaced or removed since"
		}
	}
	for i := range state.Peers {
		if psk, there := a.PSKs[state.Peers[i].PublicKey]; there && psk != state.Peers[i].PSK {
			return "the preshared key with peer " + state.Peers[i].PublicKey.String() + " was replaced since"
		}
	}
	return ""
}

// itsRules are the rules that match the mark of the device, and those that belong to them:
// wg-quick(8) and others have one for the more specific routes of the main table.
func itsRules(state *State) (rules []Rule) {
	mark := state.Device.FwMark
	for _, of := range state.Rules {
		if mark == 0 || !of.NotMark.In(mark) {
			continue
		}
		rules = append(rules, of)
		for _, r := range state.Rules {
			if r.IPv6 == of.IPv6 && r.AtLeast > 0 && r.Table == 0 && !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// adoptPeers records for each peer of the view the endpoint that it was configured with; if
// it has roamed since, it may stay there. Peers that are not in the view are left to the
// other program.
func adoptPeers(view *tunnel.View, state *State, mine *journal.Journal, was *Adopted) {
	live := map[keyring.PublicKey]*Peer{}
	for i := range state.Peers {
		live[state.Peers[i].PublicKey] = &state.Peers[i]
	}
	for i := range view.Peers {
		p := &view.Peers[i]
		have := live[p.PublicKey]
		if have == nil {
			continue
		}
		given := ""
		if have.Endpoint.IsValid() {
			given = p.Endpoint
		}
		was.Wanted[p.PublicKey] = true
		mine.Set(journal.OfPeer(p.PublicKey), journal.Entry{Set: cmp.Or(given, journal.Unsure)})
	}
}
