package tunnel

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"wgkeys/keyring"
)

// The tags of an address, and of a line that holds none.
const inside, outside, plain = "INSIDE", "OUTSIDE", ""

// Annotate returns v as text for a user, one fact per line: where it is, what it is, and
// its value.
func (v *View) Annotate() string {
	var s sheet
	s.title("tunnel %s on host %s", v.Tunnel, v.Host)
	s.about(v.About, "no: nobody logs in to this host")
	s.keys(v.PublicKey, v.NextPublicKey)
	s.line(plain, "private key file", v.PrivateKeyFile)
	s.line(outside, "listen port", v.port())
	s.number("mtu", v.MTU, " bytes")
	if v.FwMark != 0 {
		s.line(outside, "fwmark", fmt.Sprintf("%#x, on the encrypted packets", v.FwMark))
	}
	for _, a := range v.Addresses {
		s.line(inside, "address", address{a, v.Remotes[a.Addr()]}.String())
	}
	if v.Forward {
		s.line(plain, "forward", "between the tunnel and its uplinks: "+v.families())
	}
	for _, n := range v.Through {
		s.line(inside, "reached through it", n.String())
	}
	for _, a := range v.Proxies {
		s.line(inside, "neighbour proxy", a.String())
	}
	for _, m := range v.Masquerade {
		s.line(inside, "masquerade", m.String()+v.byUplinks())
	}
	if v.MasqueradeTunnel {
		s.line(inside, "masquerade", "the host's own networks, into the tunnel")
	}
	if v.Isolate {
		s.line(inside, "isolate", "nothing goes from one peer to another")
	}
	for _, d := range v.DNS {
		s.line(plain, "dns", d)
	}
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		s.line(plain, "sysctl", key+" = "+v.Sysctls[key])
	}
	for _, p := range v.Peers {
		s.peer(&p, v.Unmanaged)
	}
	s.routes(v)
	if v.NoBoot {
		s.line(plain, "boot", "off: the tunnel is brought up by hand: wgkeys apply")
	}
	if v.NoKillSwitch {
		s.line(plain, "kill switch", "off: without the interface, packets may leave in the clear")
	}
	return s.String()
}

func (v *View) port() string {
	if v.ListenPort == 0 {
		return "the kernel's choice"
	}
	return strconv.Itoa(v.ListenPort) + "/udp"
}

func (v *View) families() string {
	var f []string
	if v.ForwardIPv4 {
		f = append(f, "IPv4")
	}
	if v.ForwardIPv6 {
		f = append(f, "IPv6")
	}
	return strings.Join(f, " and ")
}

func (v *View) byUplinks() string {
	if len(v.MasqueradeBy) == 0 {
		return ""
	}
	return " by " + strings.Join(v.MasqueradeBy, ", ")
}

// A sheet is text in columns of a fixed width.
type sheet struct{ strings.Builder }

func (s *sheet) title(format string, args ...any) {
	if s.Len() > 0 {
		s.WriteByte('\n')
	}
	fmt.Fprintf(s, format+"\n", args...)
}

func (s *sheet) line(tag, what, val string) {
	fmt.Fprintf(s, "  %-8s %-19s %s\n", tag, what, val)
}

func (s *sheet) number(what string, n int, unit string) {
	if n != 0 {
		s.line(plain, what, strconv.Itoa(n)+unit)
	}
}

// keys shows a host's key and its next key: which of the two is in use only the hosts know.
func (s *sheet) keys(key, next keyring.PublicKey) {
	s.line(plain, "public key", key.String())
	if !next.IsZero() {
		s.line(plain, "next public key", next.String()+": a rotation is under way, and either may be in use")
	}
}

func (s *sheet) about(a About, unmanaged string) {
	if a.Description != "" {
		s.line(plain, "description", a.Description)
	}
	if a.Unmanaged {
		s.line(plain, "managed", unmanaged)
	}
}

// peer shows a peer of this host, which may be unmanaged.
func (s *sheet) peer(p *Peer, unmanaged bool) {
	s.title("peer %s", p.Name)
	s.about(p.About, "no: it gets this host's public key by hand")
	s.keys(p.PublicKey, p.NextPublicKey)
	if p.PresharedKeyFile != "" {
		s.line(plain, "preshared key file", p.PresharedKeyFile)
	}
	switch {
	case p.Endpoint != "":
		for _, e := range p.Endpoints() {
			s.line(outside, "endpoint", e)
		}
	case unmanaged:
		s.line(outside, "endpoint", "not in the tunnel file")
	default:
		s.line(outside, "endpoint", "none: the peer comes to us")
	}
	s.number("keepalive", p.Keepalive, " s")
	for _, a := range p.AllowedIPs {
		s.line(inside, "allowed IP", a.String())
	}
}

func (s *sheet) routes(v *View) {
	if len(v.Routes) == 0 {
		return
	}
	if v.Table != 0 {
		s.title("routes, in table %d", v.Table)
	} else {
		s.title("routes")
	}
	for _, r := range v.Routes {
		to := r.Prefix.String() + " to peer " + r.Peer
		if r.Gateway.IsValid() {
			to += " by gateway " + r.Gateway.String()
		}
		if r.Metric != 0 {
			to += ", metric " + strconv.Itoa(r.Metric)
		}
		s.line(inside, "route", to)
	}
}
