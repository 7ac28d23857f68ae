// Package live reads the tunnels that run on a host: the state of its kernel, and the files
// of the program that set them up. If the two differ, the kernel counts, and the difference
// is reported.
//
// The host needs sh, wg(8) and iproute2, and nothing of ours. The package is pure: it has
// the script and parses its output.
package live

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/wgquick"
	"wgkeys/keyring/fault"
)

// Script prints, for sh(1) of root on a host, the tunnels that run there, private keys
// included. A line "@WORDS" begins an item, of which each line has a "|" before it.
//
// Script is for sh(1), run by root on a host. It prints the tunnels that run there,
// including their private keys. An item begins with a line "@WORDS"; its lines begin with
// "|".
//
//go:embed live.sh
var Script string

// A Host is what runs on a host, and what its files say.
type Host struct {
	Devices []*foreign.Device // the state of the kernel, sorted by interface name
	Files   []foreign.File    // files of programs that name one of the interfaces

	forwards bool
}

// maxName is the longest name of an interface: IFNAMSIZ less its zero byte (netdevice(7)).
const maxName = 15

var errNoList = errors.New("what came from the host is no list of its tunnels")

// Parse parses the output of [Script] from the host of that name.
func Parse(host string, text []byte) (*Host, error) {
	items, err := split(text)
	if err != nil {
		return nil, err
	}
	h := &Host{}
	rules := append(bytes.Split(items["rules 4"], []byte("\n")), bytes.Split(items["rules 6"], []byte("\n"))...)
	var names []string
	for words := range items {
		kind, name, _ := strings.Cut(words, " ")
		switch kind {
		case "conf":
			if len(name) > maxName {
				return nil, errNoList
			}
			names = append(names, name)
		case "file":
			if strings.ContainsFunc(name, unicode.IsControl) {
				continue // no real configuration file has such a name
			}
			h.Files = append(h.Files, foreign.File{Name: name, Text: items[words]})
		case "forward":
			h.forwards = bytes.Contains(items[words], []byte("1"))
		case "lack":
			return nil, fault.NewHost("cannot look at the tunnels of host", host, name+" is not there",
				"on "+host+": apt install wireguard-tools iproute2")
		case "deny":
			return nil, fault.NewHost("cannot look at the tunnels of host", host,
				"only root can, and sudo asks for a password there",
				"wgkeys import --live "+host+"=root@...")
		}
	}
	if _, done := items["end"]; !done {
		return nil, fault.NewHost("cannot look at the tunnels of host", host, "its answer was cut short",
			"the same command again")
	}
	slices.Sort(names)
	slices.SortFunc(h.Files, func(a, b foreign.File) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range names {
		d, err := h.device(host, name, items, rules)
		if err != nil {
			return nil, err
		}
		h.Devices = append(h.Devices, d)
	}
	return h, nil
}

// split returns the lines of each item by its words. Lines before the first item are
// ignored: they come from a start-up file of the shell.
func split(text []byte) (map[string][]byte, error) {
	items := map[string][]byte{}
	at := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case len(line) == 0:
		case line[0] == '@':
			at = string(line[1:])
			items[at] = nil
		case line[0] == '|' && at != "":
			items[at] = append(append(items[at], line[1:]...), '\n')
		case at != "":
			return nil, errNoList
		}
	}
	return items, lines.Err()
}

// device makes a device from the output of wg(8) and ip(8) for an interface.
func (h *Host) device(host, name string, items map[string][]byte, rules [][]byte) (*foreign.Device, error) {
	place := name + " on " + host
	list, err := wgquick.Parse([]foreign.File{{Name: place, Text: items["conf "+name]}})
	if err != nil {
		return nil, err
	}
	d := list[0]
	d.Name = name
	if err := addresses(d, items["address "+name], place); err != nil {
		return nil, err
	}
	for i := range d.Peers {
		d.Peers[i].Routed = false // the routes are read below
	}
	for _, family := range []string{"4", "6"} {
		if err := routes(d, family == "6", items["route "+family+" "+name], place, rules); err != nil {
			return nil, err
		}
	}
	if lookedFor(d.FwMark, rules) != 0 {
		d.FwMark = 0 // the program chose it for its policy routing
	}
	return d, nil
}

// A jsonLink is an interface in the output of `ip -j address`.
type jsonLink struct {
	MTU       int `json:"mtu"`
	Addresses []struct {
		Family string `json:"family"`
		Local  string `json:"local"`
		Peer   string `json:"address"` // the remote address of a point-to-point address
		Length int    `json:"prefixlen"`
		Scope  string `json:"scope"`
	} `json:"addr_info"`
}

// usualMTU is the default MTU of a WireGuard interface.
const usualMTU = 1420

func addresses(d *foreign.Device, text []byte, place string) error {
	var links []jsonLink
	if err := json.Unmarshal(text, &links); err != nil {
		return fault.Wrap(err, "cannot read the addresses of", place, "ip -j address show")
	}
	for _, l := range links {
		if l.MTU != usualMTU {
			d.MTU = l.MTU
		}
		for _, a := range l.Addresses {
			local, err := netip.ParseAddr(a.Local)
			if err != nil || a.Scope == "link" && local.Is6() {
				continue // made by the kernel, or of another family
			}
			next := foreign.Address{Pos: d.Pos, Local: netip.PrefixFrom(local, a.Length)}
			if peer, err := netip.ParseAddr(a.Peer); err == nil {
				next.Local, next.Remote = netip.PrefixFrom(local, local.BitLen()), netip.PrefixFrom(peer, a.Length)
			}
			d.Addresses = append(d.Addresses, next)
		}
	}
	return nil
}

// A jsonRoute is a route in the output of `ip -j route show table all`.
type jsonRoute struct {
	Type     string `json:"type"`
	To       string `json:"dst"`
	Gateway  string `json:"gateway"`
	Table    string `json:"table"`
	Protocol string `json:"protocol"`
	Metric   int    `json:"metric"`
}

func routes(d *foreign.Device, six bool, text []byte, place string, rules [][]byte) error {
	var list []jsonRoute
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &list); err != nil {
			return fault.Wrap(err, "cannot read the routes of", place, "ip -j route show table all")
		}
	}
	for _, r := range list {
		if r.Type != "" && r.Type != "unicast" || r.Protocol == "kernel" || r.Table == "local" {
			continue
		}
		to, ok := prefixOf(r.To, six)
		if !ok {
			continue
		}
		next := foreign.Route{Pos: d.Pos, Prefix: to, Metric: r.Metric, Table: tableOf(r.Table, d.FwMark, rules)}
		if to.Addr().Is6() && next.Metric == 1024 { // the kernel's default
			next.Metric = 0
		}
		if g, err := netip.ParseAddr(r.Gateway); err == nil {
			next.Gateway = g
		}
		d.Routes = append(d.Routes, next)
	}
	return nil
}

// prefixOf parses a destination: "default", an address or a prefix.
func prefixOf(s string, six bool) (netip.Prefix, bool) {
	if s == "default" {
		any := netip.IPv4Unspecified()
		if six {
			any = netip.IPv6Unspecified()
		}
		return netip.PrefixFrom(any, 0), true
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}

// tableOf returns the number of a table, or 0 for the main table and for one that is only
// used for policy routing, which apply does by itself.
func tableOf(s string, mark uint32, rules [][]byte) int {
	var n int
	if s == "" || s == "main" {
		return 0
	}
	if _, err := fmt.Sscan(s, &n); err != nil || n == lookedFor(mark, rules) {
		return 0
	}
	return n
}

// lookedFor returns the table that a rule looks into for packets without the mark, or 0.
func lookedFor(mark uint32, rules [][]byte) (table int) {
	for _, r := range rules {
		words := strings.Fields(string(r))
		i, j := slices.Index(words, "fwmark"), slices.Index(words, "lookup")
		if mark == 0 || i < 0 || j < 0 || i+1 >= len(words) || j+1 >= len(words) || !slices.Contains(words, "not") {
			continue
		}
		var value uint32
		text, _, _ := strings.Cut(words[i+1], "/")
		if _, err := fmt.Sscan(text, &value); err == nil && value == mark {
			fmt.Sscan(words[j+1], &table)
		}
	}
	return table
}

// folders are the directories in which programs have their files. A program that is
// likelier to have set up an interface comes first; a file of a later one may be the first
// one's file for `wg setconf`.
var folders = []string{
	"/etc/network/", "/etc/netplan/", "/etc/systemd/network/", "/etc/NetworkManager/", "/etc/wireguard/",
}

// Programs groups files by program, in the order in which the programs count.
func Programs(files []foreign.File) (groups [][]foreign.File) {
	for _, folder := range folders {
		var group []foreign.File
		for _, f := range files {
			if strings.HasPrefix(f.Name, folder) {
				group = append(group, f)
			}
		}
		if group != nil {
			groups = append(groups, group)
		}
	}
	return groups
}
