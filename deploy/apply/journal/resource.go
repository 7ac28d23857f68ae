package journal

import (
	"encoding/base64"
	"strconv"
	"strings"

	"wgkeys/keyring"
)

// A Kind is what sort of thing of a host a [Resource] is.
type Kind string

// The kinds of things that a tunnel has or touches. They are words of the file.
const (
	Link        Kind = "link"
	Device      Kind = "device"  // of the link: in no journal, it goes with it
	Threads     Kind = "threads" // likewise
	Peer        Kind = "peer"
	Address     Kind = "address"
	Route       Kind = "route"
	Rule        Kind = "rule"
	Unreachable Kind = "unreachable"
	Proxy       Kind = "proxy"
	Filter      Kind = "filter"
	DNS         Kind = "dns"
	Sysctl      Kind = "sysctl"
	Unmanaged   Kind = "unmanaged"
)

// A Resource is one thing of the host. In the file it is the kind, a space, and the name.
type Resource struct {
	Kind Kind
	Name string // what tells it from the others of its kind; any text without a tab
}

// Of is the thing of that kind and name.
func (k Kind) Of(name string) Resource { return Resource{k, name} }

// OfPeer is the peer of that key.
func OfPeer(key keyring.PublicKey) Resource { return Peer.Of(key.String()) }

// parseResource reads what [Resource.String] wrote; any other text stays as it is too.
func parseResource(text string) Resource {
	if kind, name, _ := strings.Cut(text, " "); name != "" {
		return Resource{Kind(kind), name}
	}
	return Resource{Kind: Kind(text)}
}

func (r Resource) String() string {
	if r.Name == "" {
		return string(r.Kind)
	}
	return string(r.Kind) + " " + r.Name
}

// An Entry is one thing in the journal: the value it had before we touched it
// and the value we gave it. For a thing that was not there Was is "".
type Entry struct{ Was, Set string }

// Unsure stands for a value that was about to be set and perhaps was.
const Unsure = "-"

// Entries are the things of one journal.
type Entries map[Resource]Entry

// Has reports whether the journal speaks of a thing.
func (e Entries) Has(r Resource) bool { _, ok := e[r]; return ok }

// Peer is the entry of a peer, found without making its name: a host has ten thousand.
func (e Entries) Peer(key keyring.PublicKey) Entry {
	var name [44]byte // base64 of 32 bytes
	base64.StdEncoding.Encode(name[:], key[:])
	return e[Resource{Peer, string(name[:])}]
}

// LinkNumber returns the number of the tunnel's link, or 0 where it is not known.
func (e Entries) LinkNumber(name string) int {
	n, _ := strconv.Atoi(e[Link.Of(name)].Set)
	return n
}
