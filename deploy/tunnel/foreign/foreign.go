// Package foreign is a tunnel as the files of another program describe it:
// wg-quick, systemd-networkd, NetworkManager and so on. A parser of each makes
// a [Device] of such files; what is common to all of them is here.
//
// The package is pure: a parser gets texts and returns values. A Device holds
// the secrets of its file, which print as "(private key)" and refuse to be
// marshalled; the only way for them leads into the vault.
package foreign

import (
	"math"
	"net/netip"
	"strings"

	"wgkeys/keyring"
)

// Max32 is the most that a number of 32 bits may be, such as a table or a metric: what an int
// holds, where that is less (on a processor of 32 bits).
const Max32 = math.MaxUint32 & math.MaxInt

// A File is a text of another program, with the name that its errors get.
type File struct {
	Name string // a path, as the user or the host spells it
	Text []byte
	// for a file that is written: its mode and owner in words of chmod(1) and
	// chown(1), where the program asks for others than 0644 root:root
	Mode, Owner string
	// for a file that is read, and whose name is the interface's: what else its commands
	// call the interface, where somebody says so; "": nothing
	Interface string
}

// A Pos is a line of a file, from 1.
type Pos struct {
	File string
	Line int
}

// A Device is one WireGuard interface of one host.
type Device struct {
	Pos         Pos      // where it begins
	Name        string   // of the interface; "": the format does not say it
	ByFile      bool     // Name is that of the file, which may be a copy
	Alias       string   // what its commands call the interface besides; "": nothing
	Host        string   // of the host; "": the format does not say it
	SSH         string   // how ssh reached the host, where it was not by its name
	Description string   // a line for people
	Comment     []string // the comments around it, without "#", in order

	PrivateKey     keyring.PrivateKey // zero: none in the files
	PrivateKeyFile string             // on the host; "": none

	// a file for `wg setconf` that the host loads, with the keys and the peers;
	// "": they are here. Peers are then what commands say besides of those in the file,
	// by their public keys.
	Conf string

	ListenPort int    // 0: the kernel's choice
	MTU        int    // bytes; 0: not said
	FwMark     uint32 // 0: none
	Addresses  []Address
	DNS        []string // addresses of resolvers, and domains: "~." is every name
	Peers      []Peer

	Table, Metric int     // of the routes of Peers that are Routed; 0: not said
	Routes        []Route // further ones, into the interface

	Forward     bool              // the host forwards between the tunnel and its uplinks
	Masquerade  Masquerade        // whose packets get the host's own address
	Isolate     bool              // what comes from one peer goes to no other
	Proxies     []netip.Addr      // INSIDE, answered for on an uplink (RFC 4389)
	WithoutIPv6 bool              // no IPv6 in the tunnel, whatever its allowed IPs say
	Sysctls     map[string]string // as sysctl(8) spells the key
	Manual      bool              // not started at boot

	Left []Left // what a tunnel file cannot say

	Lines map[string]Pos // where the files say it, by the tunnel file's word
}

// wordOf is the tunnel file's word for a key of other programs, which is spelled here
// in small letters, without what joins them.
var wordOf = map[string]string{
	"listenport": "listen_port", "port": "listen_port", "mtu": "mtu", "mtubytes": "mtu",
	"fwmark": "fwmark", "firewallmark": "fwmark", "mark": "fwmark", "address": "addresses", "addresses": "addresses",
	"dns": "dns", "domains": "dns", "dnssearch": "dns", "table": "table", "routetable": "table", "ip4table": "table",
	"metric": "metric", "routemetric": "metric", "gateway": "gateway", "privatekeyfile": "private_key_file",
}

// joins are what words within a key are joined by.
var joins = strings.NewReplacer("-", "", "_", "")

// Mark notes where a key is, as its program spells it; that of a sysctl is "sysctls "
// and its name. A program that does so makes the faults of the values easy to find.
func (d *Device) Mark(key string, at Pos) {
	if word := wordOf[joins.Replace(strings.ToLower(key))]; word != "" {
		key = word
	}
	if d.Lines == nil {
		d.Lines = map[string]Pos{}
	}
	d.Lines[key] = at
}

// Where is the place of what the tunnel file has a word for; the whole device where
// nobody noted it.
func (d *Device) Where(word string) Pos {
	if at, ok := d.Lines[word]; ok {
		return at
	}
	return d.Pos
}

// An Address is an INSIDE address of the interface. With Remote it is a
// point-to-point one (ip-address(8), "peer").
type Address struct {
	Pos    Pos
	Local  netip.Prefix
	Remote netip.Prefix // zero: none
}

// Masquerade tells which packets leave under an address of the host.
type Masquerade struct {
	All     bool     // those of the peers, by any uplink
	Uplinks []string // those of the peers, by these interfaces
	Tunnel  bool     // those of the host's networks, into the tunnel

	// what each rule of All and Uplinks says, where a program has rules; see [Device.SettleMasquerade]
	Rules []MasqueradeRule
}

// A MasqueradeRule is one for packets from some addresses.
type MasqueradeRule struct {
	Left    Left           // it, if it cannot be said
	Uplink  string         // by which they leave; "": by any
	Sources []netip.Prefix // where they come from; nil: from anywhere
}

// A Peer is an entry of a Device.
type Peer struct {
	Pos         Pos
	Name        string // as the format names it; "": it does not
	Description string
	Comment     []string // those before and in it, without "#"
	Beside      []string // of Comment, those beside keys that tell nothing of who it is

	PublicKey        keyring.PublicKey
	PresharedKey     keyring.PresharedKey // zero: none in the files
	PresharedKeyFile string               // on the host; "": none
	Endpoint         string               // address:port, [address]:port or name:port; "": it comes to us
	Keepalive        int                  // seconds; 0: off
	AllowedIPs       []netip.Prefix       // masked, in the order of the file
	Routed           bool                 // the program makes a route of each allowed IP

	EndpointAt, AllowedAt Pos // where they are; zero: nobody noted it
}

// Where is the place of what the tunnel file has a word for, in the peer.
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
}

// A Left is what a file says and a tunnel file cannot.
type Left struct {
	Pos  Pos
	What string // the key or command; never a value that may be a secret
	Why  string // what becomes of it, or what to write instead
	Hook bool   // a command that the program would run
}

// Secrets are those of one host, for a format that holds them itself.
type Secrets struct {
	PrivateKey    keyring.PrivateKey              // zero: none, the file is named
	PresharedKeys map[string]keyring.PresharedKey // by the name of the peer
}
