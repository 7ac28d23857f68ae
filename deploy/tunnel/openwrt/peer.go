package openwrt

import (
	"math"
	"net"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

// peerKeys are the options of a peer that this package understands.
var peerKeys = []string{"public_key", "preshared_key", "private_key", "allowed_ips", "route_allowed_ips",
	"endpoint_host", "endpoint_port", "persistent_keepalive", "description", "disabled"}

// peer reads a section wireguard_NAME (proto_wireguard_setup_peer in wireguard.sh).
func (b *builder) peer(s *section) {
	peer := foreign.Peer{Pos: s.at, Name: s.name, Comment: s.comments, Beside: s.beside, Routed: s.on("route_allowed_ips")}
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
	case s.on("disabled"):
		b.left(s.at, "disabled", "OpenWrt does not have this peer: take it out of the file, or switch it on")
	case s.text("public_key") == "":
		b.left(s.at, s.kind, "the peer has no public_key, and OpenWrt passes it by")
	default:
		b.d.Peers = append(b.d.Peers, peer)
	}
}

func (b *builder) peerOption(peer *foreign.Peer, s *section, o *option) {
	value := o.text()
	switch o.key {
	case "public_key":
		if value != "" {
			peer.PublicKey = b.PublicKey(o.at, o.key, value)
		}
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

// allowedIPs reads prefixes, which may be separated by commas as in wg(8). Duplicates are
// dropped.
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

// peerPrivateKey handles a peer's private key, which LuCI keeps for the QR code of the
// peer's configuration and the router's WireGuard never gets. It may be the interface's own
// key, which needs no mention.
func (b *builder) peerPrivateKey(s *section, o *option, value string) {
	key, err := keyring.ParsePrivateKey([]byte(value))
	if err == nil && !b.d.PrivateKey.IsZero() && key.PublicKey() == b.d.PrivateKey.PublicKey() {
		return
	}
	if value != "" {
		b.left(o.at, o.key, "the peer's own private key, which this host does not need")
	}
}

// firewall reads the zones and forwardings of /etc/config/firewall: fw4 masquerades packets
// that leave by a zone with masq, and forwards between the zones of a forwarding.
func (p *parser) firewall(all []*section) {
	zones, masq := map[string][]*builder{}, map[string]bool{}
	for _, s := range all {
		if s.kind != "zone" {
			continue
		}
		name := s.text("name")
		masq[name] = s.on("masq")
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
