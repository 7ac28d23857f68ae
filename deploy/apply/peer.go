package apply

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring"
)

// A Peer is a peer of a device. Its preshared key is known by its fingerprint,
// [keyring.PresharedKey.Fingerprint].
type Peer struct {
	PublicKey        keyring.PublicKey
	Endpoint         netip.AddrPort // OUTSIDE; the zero value: none, or as it is
	Configured       string         // the endpoint as the view spells it; unknown ("") in what the kernel has
	Keepalive        int            // seconds
	PSK              string         // fingerprint; "": none
	PresharedKeyFile string         // from where the preshared key comes; unknown ("") in what the kernel has
	AllowedIPs       []netip.Prefix
	LastHandshake    time.Time // zero: never
	Received, Sent   int64     // bytes, OUTSIDE
}

func (p *Peer) prefixes() []netip.Prefix {
	if p == nil {
		return nil
	}
	return p.AllowedIPs
}

func (p *Peer) configured() string {
	if p == nil {
		return ""
	}
	return p.Configured
}

// handshakeOverdue is the age at which a handshake ought to have been followed by
// another: whoever began it renews it after 120 s (REKEY_AFTER_TIME), and goes on
// trying where no answer comes. wireguard-tools' reresolve-dns.sh waits as long.
const handshakeOverdue = 135 * time.Second

// Overdue reports whether something was sent to the peer and its handshake is
// missing: it may have moved. Whoever was sent nothing owes no answer.
func (p *Peer) Overdue(now time.Time) bool {
	if p.Sent == 0 || !p.Endpoint.IsValid() {
		return false
	}
	return p.LastHandshake.IsZero() || now.Sub(p.LastHandshake) > handshakeOverdue
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

func (c PeerChange) Resource() journal.Resource { return journal.OfPeer(c.key()) }

func (c PeerChange) Inverse() []Change {
	return []Change{PeerChange{c.Link, c.Name, c.New, c.Old, c.Gave, c.Took}}
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

func (c PeerChange) entries(known journal.Entries) []line {
	foreign := c.Old != nil && c.Name == "" && !known.Has(c.Resource())
	if c.New == nil || foreign {
		return nil
	}
	return []line{{c.Resource(), journal.Entry{Set: cmp.Or(c.New.Configured, journal.Unsure)}}}
}

func (c PeerChange) restores(_ journal.Entry, _ journal.Entries) bool { return c.New == nil }

// trusted: one that moves keeps the name that is written there already, and a peer that
// nobody answers for may move all day.
func (c PeerChange) trusted() bool {
	return c.New != nil && c.New.Endpoint.IsValid() && !movedOnly(c)
}

func (PeerChange) traits() traits      { return traits{batched: true} }
func (PeerChange) TouchesKernel() bool { return true }

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

// MoveOf is the change of a peer that takes it to another address of its name.
func MoveOf(link, host string, have *Peer, name string, to netip.AddrPort) PeerChange {
	next := *have
	next.Endpoint, next.Configured = to, name
	return PeerChange{Link: link, Name: host, Old: have, New: &next}
}

// movedOnly reports whether nothing of a peer changes but the address that its name
// leads to, and becameKnown whether nothing but that it leads to one now.
func movedOnly(c PeerChange) bool {
	return addressOnly(c) && c.Old.Endpoint.IsValid() && c.Old.Configured == c.New.Configured
}

// becameKnown: see movedOnly.
func becameKnown(c PeerChange) bool { return addressOnly(c) && !c.Old.Endpoint.IsValid() }

func addressOnly(c PeerChange) bool {
	return c.Old != nil && c.New != nil && c.New.Endpoint.IsValid() && c.Old.Keepalive == c.New.Keepalive &&
		c.Old.PSK == c.New.PSK && len(c.Gained()) == 0 && len(c.Lost()) == 0 && len(c.Gave) == 0
}

// givesOnly is 1 for a change that another peer's change makes by itself.
func givesOnly(c PeerChange) int {
	if len(c.Gained()) == 0 && c.Old != nil {
		return 1
	}
	return 0
}

// NamesAnother reports whether the endpoint that was last given to a peer is another
// than name: an apply came in between.
func NamesAnother(j *journal.Journal, peer *Peer, name string) bool {
	set := j.Entries[PeerChange{New: peer}.Resource()].Set
	return set != "" && set != journal.Unsure && set != name
}
