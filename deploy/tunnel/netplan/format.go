package netplan

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// Format writes v for netplan with the renderer networkd, which can read keys from files;
// netplan refuses that for NetworkManager. A route that needs a table of its own is an
// error, because netplan has no rules for packets without a mark.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	for _, r := range v.Routes {
		if foreign.NeedsTable(v, r) {
			return nil, fault.NewHost("no netplan file for", v.Host, "the route to "+r.Prefix.String()+" needs a rule for all "+
				"packets without a mark, which netplan cannot say", "--format networkd")
		}
	}
	if len(v.Remotes) > 0 {
		return nil, fault.NewHost("no netplan file for", v.Host, "netplan has no point-to-point addresses",
			"--format networkd")
	}
	for i := range v.Peers {
		if len(v.Peers[i].AllowedIPs) == 0 {
			return nil, fault.NewHost("no netplan file for", v.Host, "netplan takes no peer without allowed IPs, as "+
				v.Peers[i].Name+" is", "--format networkd")
		}
	}
	w := &writer{v: v}
	if s.PrivateKey.IsZero() {
		w.readers()
	}
	w.host()
	w.line("network:\n  version: 2\n  renderer: networkd\n  tunnels:\n    %s:", v.Tunnel)
	for _, c := range foreign.Described(v.Host, v.About) {
		w.line("      # %s", c)
	}
	w.line("      mode: wireguard")
	if s.PrivateKey.IsZero() {
		w.line("      key: %q", v.PrivateKeyFile)
	} else {
		w.key("      key", s.PrivateKey.File())
	}
	w.given("port", v.ListenPort)
	w.given("mark", int(v.FwMark))
	w.given("mtu", v.MTU)
	if v.NoBoot {
		w.line("      activation-mode: manual")
	}
	w.line("      link-local: []")
	w.addresses()
	w.dns()
	if len(v.Peers) > 0 {
		w.line("      peers:")
	}
	for i := range v.Peers {
		w.peer(&v.Peers[i], s)
	}
	w.routes()
	return []foreign.File{{Name: "/etc/netplan/60-" + v.Tunnel + ".yaml", Text: w.text.Bytes(), Mode: "0600"}}, nil
}

// A writer writes one file.
type writer struct {
	v    *tunnel.View
	text bytes.Buffer
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format, args...)
	w.text.WriteByte('\n')
}

// note writes a comment for the reader of the file. An import does not take it for one of
// the tunnel's (see [foreign.Comment]).
func (w *writer) note(format string, args ...any) { w.line("# wgkeys: "+format, args...) }

// given writes a line unless n is 0.
func (w *writer) given(key string, n int) {
	if n != 0 {
		w.line("      %s: %d", key, n)
	}
}

// key writes a line with the content of a key file, and wipes it.
func (w *writer) key(name string, file []byte) {
	w.text.WriteString(name + `: "`)
	w.text.Write(bytes.TrimSpace(file))
	w.line(`"`)
	clear(file)
}

// readers writes notes about the permissions that the key files need.
func (w *writer) readers() {
	files := []string{w.v.PrivateKeyFile}
	for _, p := range w.v.Peers {
		if p.PresharedKeyFile != "" {
			files = append(files, p.PresharedKeyFile)
		}
	}
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, path.Dir(f))
	}
	slices.Sort(dirs)
	w.note("systemd-networkd reads the keys as the user systemd-network, which root's 0600 keeps out:")
	for _, d := range slices.Compact(dirs) {
		w.note("chgrp systemd-network %s && chmod 0710 %[1]s", d)
	}
	for _, f := range files {
		w.note("chgrp systemd-network %s && chmod 0640 %[1]s", f)
	}
}

// host writes notes about what netplan has no keys for.
func (w *writer) host() {
	v := w.v
	if v.Forward {
		w.note("for all interfaces, in a file of /etc/sysctl.d: net.ipv4.ip_forward=1, net.ipv6.conf.all.forwarding=1")
	}
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		w.note("in a file of /etc/sysctl.d: %s=%s", key, v.Sysctls[key])
	}
	if v.MasqueradeTunnel {
		w.note("in /etc/nftables.conf: oifname %s masquerade", v.Tunnel)
	}
	if v.Isolate {
		w.note("in /etc/nftables.conf: iifname %s oifname %[1]s drop", v.Tunnel)
	}
	uplinks := "!= " + v.Tunnel
	if len(v.MasqueradeBy) > 0 {
		uplinks = "{ " + strings.Join(v.MasqueradeBy, ", ") + " }"
	}
	for _, prefix := range v.Masquerade {
		w.note("netplan masquerades nothing: in /etc/nftables.conf: %s saddr %s oifname %s masquerade",
			map[bool]string{true: "ip", false: "ip6"}[prefix.Addr().Is4()], prefix, uplinks)
	}
	for _, a := range v.Proxies {
		w.note("%s: ip -6 neigh add proxy %[1]s dev UPLINK", a)
	}
}

func (w *writer) addresses() {
	if len(w.v.Addresses) == 0 {
		return
	}
	w.line("      addresses:")
	for _, a := range w.v.Addresses {
		w.line("        - %q", a)
	}
}

func (w *writer) dns() {
	var servers, domains []string
	for _, d := range w.v.DNS {
		if _, err := netip.ParseAddr(d); err == nil {
			servers = append(servers, d)
		} else {
			domains = append(domains, d)
		}
	}
	if len(w.v.DNS) > 0 {
		w.line("      nameservers:")
	}
	w.list("addresses", servers)
	w.list("search", domains)
}

func (w *writer) list(key string, words []string) {
	if len(words) == 0 {
		return
	}
	w.line("        %s:", key)
	for _, s := range words {
		w.line("          - %q", s)
	}
}

func (w *writer) peer(p *tunnel.Peer, s foreign.Secrets) {
	for _, c := range foreign.Described(p.Name, p.About) {
		w.line("        # %s", c)
	}
	w.line("        - keys:\n            public: %q", p.PublicKey)
	if psk, ok := s.PresharedKeys[p.Name]; ok && !s.PrivateKey.IsZero() {
		w.key("            shared", psk.File())
	} else if p.PresharedKeyFile != "" {
		w.line("            shared: %q", p.PresharedKeyFile)
	}
	if p.Endpoint != "" {
		w.line("          endpoint: %q", p.Endpoints()[0])
	}
	if p.Keepalive != 0 {
		w.line("          keepalive: %d", p.Keepalive)
	}
	w.line("          allowed-ips:")
	for _, a := range p.AllowedIPs {
		w.line("            - %q", a)
	}
}

// routes writes all routes: with networkd, netplan adds none for allowed IPs.
func (w *writer) routes() {
	v := w.v
	if len(v.Routes) > 0 {
		w.line("      routes:")
	}
	for _, r := range v.Routes {
		w.line("        - to: %q", r.Prefix)
		switch {
		case !r.Gateway.IsValid():
			w.line("          scope: link")
		default:
			w.line("          via: %q", r.Gateway)
			if !slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool { return a.Contains(r.Gateway) }) {
				w.line("          on-link: true")
			}
		}
		if r.Metric != 0 {
			w.line("          metric: %d", r.Metric)
		}
		if v.Table != 0 {
			w.line("          table: %d", v.Table)
		}
	}
}
