package tunnel

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"wgkeys/keyring"
)

// A spelling is the rest of a text that is parsed as [EncodeView] writes it: key by key, in
// order, with its white space. So ten thousand peers are parsed in a tenth of the time of
// encoding/json, which does not know what comes next.
//
// It decides nothing: if a byte differs it is not ok, and encoding/json parses the text
// instead. What is ok encoding/json parses with the same result (FuzzSpelling).
type spelling struct {
	whole  string
	rest   string
	ok     bool
	peers  cursor[Peer]
	routes cursor[Route]
}

var spelledHead = fmt.Sprintf("{\n  \"format\": %d,\n  \"tunnel\": ", Format)

func (s *spelling) view() *View {
	v := new(View)
	s.must(spelledHead)
	v.Tunnel = s.text()
	s.must(",\n  \"host\": ")
	v.Host = s.text()
	s.must(",\n  \"public_key\": ")
	v.PublicKey = s.key()
	v.NextPublicKey = s.maybeKey(",\n  \"next_public_key\": ")
	s.must(",\n  \"private_key_file\": ")
	v.PrivateKeyFile = s.text()
	v.ListenPort = s.maybeInt(",\n  \"listen_port\": ")
	v.MTU = s.maybeInt(",\n  \"mtu\": ")
	if s.has(",\n  \"fwmark\": ") {
		v.FwMark = uint32(s.number(32))
	}
	v.Table = s.maybeInt(",\n  \"table\": ")
	v.Addresses = maybeList(s, ",\n  \"addresses\": ", "\n  ", s.prefix)
	v.Remotes = s.remotes(",\n  \"remotes\": ")
	v.Peers = s.peers.list(s, ",\n  \"peers\": ")
	v.Routes = s.routes.list(s, ",\n  \"routes\": ")
	v.NoKillSwitch = s.has(",\n  \"no_kill_switch\": true")
	v.Forward = s.has(",\n  \"forward\": true")
	v.ForwardIPv4 = s.has(",\n  \"forward_ipv4\": true")
	v.ForwardIPv6 = s.has(",\n  \"forward_ipv6\": true")
	v.Through = maybeList(s, ",\n  \"through\": ", "\n  ", s.prefix)
	v.Proxies = maybeList(s, ",\n  \"proxies\": ", "\n  ", s.addr)
	v.Masquerade = maybeList(s, ",\n  \"masquerade\": ", "\n  ", s.prefix)
	v.MasqueradeBy = maybeList(s, ",\n  \"masquerade_by\": ", "\n  ", s.text)
	v.MasqueradeTunnel = s.has(",\n  \"masquerade_tunnel\": true")
	v.Isolate = s.has(",\n  \"isolate\": true")
	v.NoBoot = s.has(",\n  \"no_boot\": true")
	v.DNS = maybeList(s, ",\n  \"dns\": ", "\n  ", s.text)
	v.Sysctls = s.maybeMap(",\n  \"sysctls\": ")
	s.must("\n}\n")
	return v
}

func (s *spelling) maybeMap(key string) map[string]string {
	if !s.has(key) {
		return nil
	}
	s.must("{")
	m := map[string]string{}
	for more := true; more && s.ok; more = s.has(",") {
		s.must("\n    ")
		key := s.text()
		s.must(": ")
		m[key] = s.text()
	}
	s.must("\n  }")
	return m
}

func (s *spelling) remotes(key string) map[netip.Addr]netip.Prefix {
	spelled := s.maybeMap(key)
	if spelled == nil {
		return nil
	}
	remotes := make(map[netip.Addr]netip.Prefix, len(spelled))
	for local, remote := range spelled {
		l, err1 := netip.ParseAddr(local)
		r, err2 := netip.ParsePrefix(remote)
		s.ok = s.ok && err1 == nil && err2 == nil
		remotes[l] = r
	}
	return remotes
}

// NameIn returns the tunnel of a view before the rest of it is parsed. It reports false for
// a text in another spelling.
func NameIn(text []byte) (name string, ok bool) {
	s := &spelling{rest: string(text[:min(len(text), len(spelledHead)+64)]), ok: true}
	s.must(spelledHead)
	name = s.text()
	return name, s.ok && CheckName(name) == nil
}

func (s *spelling) peer() (p Peer) {
	s.must("{\n      \"name\": ")
	p.Name = s.text()
	s.must(",\n      \"public_key\": ")
	p.PublicKey = s.key()
	p.NextPublicKey = s.maybeKey(",\n      \"next_public_key\": ")
	if s.has(",\n      \"preshared_key_file\": ") {
		p.PresharedKeyFile = s.text()
	}
	if s.has(",\n      \"endpoint\": ") {
		p.Endpoint = s.text()
	}
	p.Keepalive = s.maybeInt(",\n      \"keepalive\": ")
	s.must(",\n      \"allowed_ips\": ")
	p.AllowedIPs = listOf(s, "\n      ", 1, s.prefix)
	s.must("\n    }")
	return p
}

func (s *spelling) route() (r Route) {
	s.must("{\n      \"prefix\": ")
	r.Prefix = s.prefix()
	if s.has(",\n      \"gateway\": ") {
		r.Gateway = s.addr()
	}
	r.Metric = s.maybeInt(",\n      \"metric\": ")
	s.must(",\n      \"peer\": ")
	r.Peer = s.text()
	s.must("\n    }")
	return r
}

// has removes text, if the rest begins with it.
func (s *spelling) has(text string) bool {
	rest, ok := strings.CutPrefix(s.rest, text)
	if ok {
		s.rest = rest
	}
	return ok
}

func (s *spelling) must(text string) { s.ok = s.has(text) && s.ok }

// listOf reads at least one value, each on a line of its own; indent is the one of
// the closing bracket.
func listOf[T any](s *spelling, indent string, room int, value func() T) []T {
	s.must("[")
	all := make([]T, 0, room)
	for more := true; more && s.ok; more = s.has(",") {
		s.must(indent)
		s.must("  ")
		all = append(all, value())
	}
	s.must(indent)
	s.must("]")
	return all
}

// offset is how much of the text is read.
func (s *spelling) offset() uint32 { return uint32(len(s.whole) - len(s.rest)) }

func maybeList[T any](s *spelling, key, indent string, value func() T) []T {
	if !s.has(key) {
		return nil
	}
	return listOf(s, indent, 1, value)
}

// text reads a string of printable ASCII in which nothing is escaped.
func (s *spelling) text() string {
	s.must(`"`)
	text, rest, ok := strings.Cut(s.rest, `"`)
	s.ok, s.rest = s.ok && ok, rest
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '\\' {
			s.ok = false
		}
	}
	return text
}

func (s *spelling) number(bits int) uint64 {
	digits := 0
	for digits < len(s.rest) && '0' <= s.rest[digits] && s.rest[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(s.rest[:digits], 10, bits)
	// JSON has no leading zeros, and a zero is left out.
	s.ok = s.ok && err == nil && n != 0 && s.rest[0] != '0'
	s.rest = s.rest[digits:]
	return n
}

func (s *spelling) maybeInt(key string) int {
	if !s.has(key) {
		return 0
	}
	return int(s.number(strconv.IntSize - 1))
}

func (s *spelling) key() keyring.PublicKey {
	return valid(s, func(text string) (keyring.PublicKey, error) { return keyring.ParsePublicKey([]byte(text)) })
}

func (s *spelling) maybeKey(key string) keyring.PublicKey {
	if !s.has(key) {
		return keyring.PublicKey{}
	}
	return s.key()
}

func (s *spelling) prefix() netip.Prefix { return valid(s, netip.ParsePrefix) }
func (s *spelling) addr() netip.Addr     { return valid(s, netip.ParseAddr) }

func valid[T any](s *spelling, parse func(string) (T, error)) T {
	v, err := parse(s.text())
	s.ok = s.ok && err == nil
	return v
}
