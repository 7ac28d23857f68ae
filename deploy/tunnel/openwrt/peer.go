package openwrt

import (
	"math"
	"net"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// peerKeys are the options of a peer that are understood.
var peerKeys = []string{"public_key", "preshared_key", "private_key", "allowed_ips", "route_allowed_ips",
	"endpoint_host", "endpoint_port", "persistent_keepalive", "description", "disabled"}

// peer takes in a section wireguard_NAME (proto_wireguard_setup_peer in wireguard.sh).
func (b *builder) peer(s *section) {
	peer := foreign.Peer{Pos: s.at, Name: s.name, Comment: s.comments, Routed: s.yes("route_allowed_ips", false)}
	for _, o := range s.order {
		b.peerOption(&peer, s, o)
	}
	if host := s.text("endpoint_host"); host != "" {
		port := s.text("endpoint_port")
		if port == "" {
			port = "51820"
		}
		at := s.options["endpoint_host"].at
		peer.EndpointAt = at
		peer.Endpoint = b.Endpoint(at, "endpoint_host", net.JoinHostPort(strings.Trim(host, "[]"), port))
	}
	switch {
	case s.options["public_key"] == nil:
		b.Wrong(s.at, "", "the peer has no public_key")
	case s.yes("disabled", false):
		b.left(s.at, "disabled", "OpenWrt does not have this peer: take it out of the file, or switch it on")
	default:
		b.d.Peers = append(b.d.Peers, peer)
	}
}

func (b *builder) peerOption(peer *foreign.Peer, s *section, o *option) {
	value := o.text()
	switch o.key {
	case "public_key":
		peer.PublicKey = b.PublicKey(o.at, o.key, value)
	case "preshared_key":
		if value != "" {
			peer.PresharedKey = b.PresharedKey(o.at, o.key, value)
		}
	case "private_key":
		b.peerPrivateKey(s, o, value)
	case "allowed_ips":
		b.allowedIPs(peer, o)
	case "persistent_keepalive":
		if value != "off" && value != "" {
			peer.Keepalive = b.Number(o.at, o.key, value, 0, math.MaxUint16)
		}
	case "description":
		if _, ok := foreign.Comment(value); ok {
			peer.Description = value
		} else if value != "" {
			b.left(o.at, o.key, "it may hold a key")
		}
	case "endpoint_host", "endpoint_port", "route_allowed_ips", "disabled":
	default:
		b.Unknown(o.at, "wireguard_"+b.d.Name, o.key, peerKeys)
	}
}

// allowedIPs takes in networks, between which there may be commas, as wg(8) has them. One
// that comes twice counts once.
func (b *builder) allowedIPs(peer *foreign.Peer, o *option) {
	peer.AllowedAt = o.at
	for _, w := range o.words() {
		for a := range strings.SplitSeq(w, ",") {
			if prefix, ok := b.Prefix(o.at, o.key, a); ok && !slices.Contains(peer.AllowedIPs, prefix.Masked()) {
				peer.AllowedIPs = append(peer.AllowedIPs, prefix.Masked())
			}
		}
	}
}

// peerPrivateKey looks at a key that LuCI keeps with a peer for a QR code of its
// configuration; WireGuard on the router never sees it. Some have the interface's own
// there, which says nothing new.
func (b *builder) peerPrivateKey(s *section, o *option, value string) {
	key, err := keyring.ParsePrivateKey([]byte(value))
	if err == nil && !b.d.PrivateKey.IsZero() && key.PublicKey() == b.d.PrivateKey.PublicKey() {
		return
	}
	if value != "" {
		b.left(o.at, o.key, "the peer's own private key, which this host does not need")
	}
}

// firewall takes in zones and forwardings of /etc/config/firewall: fw4 masquerades what
// leaves by a zone with masq, and forwards between the zones that a forwarding names.
func (p *parser) firewall(all []*section) {
	zones, masq := map[string][]*builder{}, map[string]bool{}
	for _, s := range all {
		if s.kind != "zone" {
			continue
		}
		name := s.text("name")
		masq[name] = s.yes("masq", false)
		for _, network := range s.options["network"].words() {
			b := p.byName[network]
			if b == nil {
				continue
			}
			zones[name] = append(zones[name], b)
			b.d.Masquerade.Tunnel = b.d.Masquerade.Tunnel || masq[name]
			b.left(s.at, "config zone", "the firewall stays yours; what it forwards and masquerades is taken in")
		}
	}
	for _, s := range all {
		if s.kind != "forwarding" {
			continue
		}
		for _, b := range append(slices.Clone(zones[s.text("src")]), zones[s.text("dest")]...) {
			b.d.Forward = true
		}
		for _, b := range zones[s.text("src")] {
			b.d.Masquerade.All = b.d.Masquerade.All || masq[s.text("dest")]
		}
	}
}
