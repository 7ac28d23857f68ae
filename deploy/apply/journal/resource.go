package journal

import (
	"encoding/base64"
	"strconv"
	"strings"

	"wgkeys/keyring"
)

// A Kind is the type of a [Resource].
type Kind string

// The kinds of resources of a tunnel. They are words in the file.
const (
	Link        Kind = "link"
	Device      Kind = "device"  // of the link: not in the journal, since it goes with the link
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
	Name string // unique among those of its kind; any text without a tab
}

// Of is the thing of that kind and name.
func (k Kind) Of(name string) Resource { return Resource{k, name} }

// OfPeer is the peer of that key.
func OfPeer(key keyring.PublicKey) Resource { return Peer.Of(key.String()) }

// parseResource parses what [Resource.String] wrote; any other text is kept as it is.
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

// An Entry is one thing in the journal: the value it had before we touched it and the value
// that we gave it. Was is "" for a thing that did not exist.
type Entry struct{ Was, Set string }

// Unsure is the value of a thing that was about to be set, and may have been.
const Unsure = "-"

// Entries are the things of one journal.
type Entries map[Resource]Entry

// Has reports whether a thing is in the journal.
func (e Entries) Has(r Resource) bool { _, ok := e[r]; return ok }

// Peer is the entry of a peer, found without building its name: a host may have ten
// thousand.
func (e Entries) Peer(key keyring.PublicKey) Entry {
	var name [44]byte // base64 of 32 bytes
	base64.StdEncoding.Encode(name[:], key[:])
	return e[Resource{Peer, string(name[:])}]
}

// LinkNumber returns the number of the tunnel's link, or 0 if it is not known.
func (e Entries) LinkNumber(name string) int {
	n, _ := strconv.Atoi(e[Link.Of(name)].Set)
	return n
}
