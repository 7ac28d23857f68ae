// Package foreign describes a tunnel as the files of another program do: wg-quick,
// systemd-networkd, NetworkManager and so on. A parser for each of them makes a [Device] of
// such files; what the parsers have in common is here.
//
// The package is pure: a parser gets texts and returns values. A Device holds the secrets
// of its file. They print as "(private key)" and refuse to be marshalled, so that they can
// get into the vault and nowhere else.
package foreign

import (
	"math"
	"net/netip"
	"strings"

	"wgkeys/keyring"
)

// Max32 is the greatest number of 32 bits, such as a table or a metric, or the greatest int
// where that is less (on a 32-bit processor).
const Max32 = math.MaxUint32 & math.MaxInt

// A File is a text of another program, with the name that errors give it.
type File struct {
	Name string // a path, as the user gave it or on the host
	Text []byte
	// The mode and owner of a file that is written, as in chmod(1) and chown(1), unless the
	// program wants 0644 and root:root.
	Mode, Owner string
	// For a file that is read, and that is named after its interface: another name by which its
	// commands call the interface, from the user; "": none.
	Interface string
}

// Wipe clears texts that may contain keys.
func Wipe(list []File) {
	for _, f := range list {
		clear(f.Text)
	}
}

// A Pos is a line of a file, counted from 1.
type Pos struct {
	File string
	Line int
}

// A Device is one WireGuard interface of one host.
type Device struct {
	Pos         Pos      // where it begins
	Name        string   // of the interface; "": not in the files
	ByFile      bool     // Name comes from the file name, which may be that of a copy
	Alias       string   // another name that its commands use; "": none
	Host        string   // of the host; "": not in the files
	SSH         string   // ssh destination of the host, if it is not its name
	Description string   // a line for people
	Comment     []string // the comments about it, without "#", in order

	PrivateKey     keyring.PrivateKey // zero: none in the files
	PrivateKeyFile string             // on the host; "": none

	// Path of the file for `wg setconf` that the host loads, with the keys and peers; "":
	// they are here. With such a file, Peers has only what commands add to its peers, by
	// public key.
	Conf    string
	AddConf []string // paths of files for `wg addconf`, after it

	ListenPort int    // 0: the kernel's choice
	MTU        int    // bytes; 0: not given
	FwMark     uint32 // 0: none
	Addresses  []Address
	DNS        []string // addresses of resolvers and search domains; "~." is every name
	Peers      []Peer

	Table, Metric int     // of the routes of Peers that are Routed; 0: not given
	Routes        []Route // other routes into the interface
	Rules         []Rule  // see [Device.SettleRules]

	Forward     bool              // the host forwards between the tunnel and its uplinks
	Allows      []Left            // the rules behind Forward; see [Device.SettleForward]
	Between     []Between         // rules about what peers send each other; see [Device.SettleForward]
	HoldsBack   bool              // a rule that is left out drops packets of the tunnel
	Masquerade  Masquerade        // which packets get the host's own address
	Isolate     bool              // peers cannot reach each other
	Proxies     []netip.Addr      // INSIDE addresses that the host proxies on an uplink (RFC 4389)
	WithoutIPv6 bool              // no IPv6 in the tunnel, whatever its allowed IPs say
	Sysctls     map[string]string // by key as in sysctl(8)
	Manual      bool              // not started at boot

	Left []Left // what a tunnel file has nothing for

	Lines map[string]Pos // where a setting is in the files, by the tunnel file's key
}

// wordOf maps keys of other programs, in lower case and without "-" and "_", to those of
// the tunnel file.
var wordOf = map[string]string{
	"listenport": "listen_port", "port": "listen_port", "mtu": "mtu", "mtubytes": "mtu",
	"fwmark": "fwmark", "firewallmark": "fwmark", "mark": "fwmark", "address": "addresses", "addresses": "addresses",
	"dns": "dns", "domains": "dns", "dnssearch": "dns", "table": "table", "routetable": "table", "ip4table": "table",
	"metric": "metric", "routemetric": "metric", "gateway": "gateway", "privatekeyfile": "private_key_file",
}

// joins removes what separates the words of a key.
var joins = strings.NewReplacer("-", "", "_", "")

// Mark records the place of a key, as its program spells it; for a sysctl the key is
// "sysctls " and its name. Errors about the value of the key can then name the line.
func (d *Device) Mark(key string, at Pos) {
	if word := wordOf[joins.Replace(strings.ToLower(key))]; word != "" {
		key = word
	}
	if d.Lines == nil {
		d.Lines = map[string]Pos{}
	}
	d.Lines[key] = at
}

// Where returns the place of a key of the tunnel file, or that of the whole device if
// nobody recorded it.
func (d *Device) Where(word string) Pos {
	if at, ok := d.Lines[word]; ok {
		return at
	}
	return d.Pos
}

// An Address is an INSIDE address of the interface. With Remote it is a point-to-point
// address ("peer" in ip-address(8)).
type Address struct {
	Pos    Pos
	Local  netip.Prefix
	Remote netip.Prefix // zero: none
}

// A Between is a rule that matches all packets from one peer to another. They are in the order of
// the chain, in which the first one decides.
type Between struct {
	Left  Left // the rule, if it has to be left out
	IPv6  bool
	Drops bool // it drops them; otherwise it lets them through
}

// Masquerade says which packets leave under an address of the host.
type Masquerade struct {
	All     bool     // packets from the peers, on any uplink
	Uplinks []string // packets from the peers, on these interfaces
	Tunnel  bool     // packets of the host's networks, into the tunnel

	// the rules behind All and Uplinks, if the program has rules; see
	// [Device.SettleMasquerade]
	Rules []MasqueradeRule
}

// A MasqueradeRule masquerades packets from some addresses.
type MasqueradeRule struct {
	Left    Left           // the rule, if it has to be left out
	Uplink  string         // the outgoing interface; "": any
	Sources []netip.Prefix // source addresses; nil: any
}

// A Peer is a peer of a Device.
type Peer struct {
	Pos         Pos
	Name        string // its name in the files; "": none
	Description string
	Comment     []string // the comments about it, without "#", in order
	Beside      []string // those of Comment that are about a key and so do not name the peer

	PublicKey        keyring.PublicKey
	PublicKeyFile    string               // on the host, in the place of PublicKey; "": none
	PresharedKey     keyring.PresharedKey // zero: none in the files
	PresharedKeyFile string               // on the host; "": none
	Endpoint         string               // address:port, [address]:port or name:port; "": none, the peer connects to us
	Keepalive        int                  // seconds; 0: off
	AllowedIPs       []netip.Prefix       // masked, in the order of the file
	Routed           bool                 // the program adds a route for each allowed IP

	EndpointAt, AllowedAt Pos // where they are; zero: not recorded
	KeyAt                 Pos // where PublicKeyFile is
}

// Where returns the place of a key of the tunnel file within the peer.
func (p *Peer) Where(word string) Pos {
	switch {
	case word == "endpoint" && p.EndpointAt.Line > 0:
		return p.EndpointAt
	case (word == "allowed_ips" || word == "addresses" || word == "routes") && p.AllowedAt.Line > 0:
		return p.AllowedAt
	}
	return p.Pos
}

// A Route leads into the interface.
type Route struct {
	Pos           Pos
	Prefix        netip.Prefix // masked
	Gateway       netip.Addr   // zero: none
	Table, Metric int          // 0: not said
	Source        Source       // zero: not said
}

// A Source is the address that packets by a route are to come from, if nobody binds another.
// The kernel takes the interface's own address anyway if it has one alone of the family; see
// [Device.SettleSources].
type Source struct {
	Addr netip.Addr
	Left Left // the setting, if it has to be left out
}

// A Rule is a command that adds or removes a rule of policy routing, as people write them for a
// default route: for all packets but the encrypted ones the tunnel's table, and before that the
// main table for all but its default route. apply makes such rules by itself.
type Rule struct {
	Left     Left // the command, if it has to be left out
	Down     bool // it removes the rule
	IPv6     bool
	Mark     uint32 // with Table: for packets without this mark
	Table    int    // 0: the main table, without its default route
	Priority int    // -1: not said

	suppresses bool // it does not use default routes
}

// A Left is something in a file that a tunnel file has nothing for.
type Left struct {
	Pos  Pos
	What string // the key or command; never a value that may be a secret
	Why  string // the reason, or what to write instead
	Hook bool   // a command that the program would run
}

// Secrets are the secret keys of one host, for a format whose files hold them.
type Secrets struct {
	PrivateKey    keyring.PrivateKey              // zero: the files name the key file instead
	PresharedKeys map[string]keyring.PresharedKey // by the name of the peer
}
