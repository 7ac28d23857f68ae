package netplan

import (
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// networkManager reads what a profile of NetworkManager has that netplan has no key for. Where
// netplan keeps NetworkManager's profiles, as Ubuntu's desktop does, each has some of it.
func networkManager(p *parser, e field) {
	for _, f := range p.fields(e.value, e.key) {
		switch f.key {
		case "name":
			if name := p.text(f.value, f.key); name != p.d.Name {
				p.d.Description = name
			}
		case "passthrough":
			for _, g := range p.fields(f.value, f.key) {
				p.passthrough(g)
			}
		}
	}
}

// harmless are keys that say nothing about a tunnel, as in package networkmanager.
var harmless = []string{"connection.timestamp", "connection.autoconnect-priority", "connection.autoconnect-retries",
	"connection.stable-id", "connection.metered", "connection.uuid", "ipv4.may-fail", "ipv6.may-fail", "ipv4.dad-timeout",
	"ipv4.ignore-auto-dns", "ipv6.ignore-auto-dns", "ipv6.addr-gen-mode", "ipv6.ip6-privacy",
	"wireguard.private-key-flags", "proxy._"}

// passthrough reads GROUP.KEY of a profile.
func (p *parser) passthrough(e field) {
	value := p.text(e.value, e.key)
	switch {
	case e.key == "connection.autoconnect":
		p.d.Manual = value == "false"
	case e.key == "wireguard.peer-routes":
		p.noRoutes = value == "false"
	case strings.HasSuffix(e.key, ".dns-search") && strings.HasPrefix(e.key, "ip"):
		for word := range strings.SplitSeq(value, ";") {
			if word == "~" {
				word = "~." // every name
			}
			if word = strings.TrimSpace(word); word != "" && !slices.Contains(p.d.DNS, word) {
				p.d.DNS = append(p.d.DNS, word)
			}
		}
	case e.key == "ipv4.method", e.key == "ipv6.method":
		if value != "disabled" && value != "ignore" && value != "manual" {
			p.left(e, "passthrough "+e.key, "a tunnel has the addresses that are written")
		}
	case slices.Contains(harmless, e.key), strings.HasSuffix(e.key, "-auto-default-route") && value == "-1":
	default:
		p.left(e, "passthrough "+strings.Trim(foreign.Shown(e.key), `"`),
			"of what NetworkManager alone is told this is not read")
	}
}
