package netplan

import (
	"bytes"

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
	w := &writer{foreign.Writer{View: v, Is: ": "}}
	if s.PrivateKey.IsZero() {
		w.NoteReaders()
	}
	w.NoteHost("netplan masquerades nothing")
	for _, lost := range foreign.Untried(v) {
		w.Note("%s", lost)
	}
	w.Line("network:\n  version: 2\n  renderer: networkd\n  tunnels:\n    %s:", v.Tunnel)
	for _, c := range foreign.Described(v.Host, v.About) {
		w.Line("      # %s", c)
	}
	w.Line("      mode: wireguard")
	if s.PrivateKey.IsZero() {
		w.Line("      key: %q", v.PrivateKeyFile)
	} else {
		w.key("      key", s.PrivateKey.File())
	}
	w.Given("      port", v.ListenPort)
	w.Given("      mark", int(v.FwMark))
	w.Given("      mtu", v.MTU)
	if v.NoBoot {
		w.Line("      activation-mode: manual")
	}
	w.Line("      link-local: []")
	w.addresses()
	w.dns()
	if len(v.Peers) > 0 {
		w.Line("      peers:")
	}
	for i := range v.Peers {
		w.peer(&v.Peers[i], s)
	}
	w.routes()
	return []foreign.File{{Name: "/etc/netplan/60-" + v.Tunnel + ".yaml", Text: w.Text.Bytes(), Mode: "0600"}}, nil
}

// A writer writes one file.
type writer struct{ foreign.Writer }

// key writes a line with the content of a key file in quotation marks, and wipes it.
func (w *writer) key(name string, file []byte) {
	w.Text.WriteString(name + `: "`)
	w.Text.Write(bytes.TrimSpace(file))
	w.Line(`"`)
	clear(file)
}

func (w *writer) addresses() {
	if len(w.View.Addresses) == 0 {
		return
	}
	w.Line("      addresses:")
	for _, a := range w.View.Addresses {
		w.Line("        - %q", a)
	}
}

func (w *writer) dns() {
	servers, domains := tunnel.SplitDNS(w.View.DNS)
	if len(w.View.DNS) > 0 {
		w.Line("      nameservers:")
	}
	w.list("addresses", servers)
	w.list("search", domains)
}

func (w *writer) list(key string, words []string) {
	if len(words) == 0 {
		return
	}
	w.Line("        %s:", key)
	for _, s := range words {
		w.Line("          - %q", s)
	}
}

func (w *writer) peer(p *tunnel.Peer, s foreign.Secrets) {
	for _, c := range foreign.Described(p.Name, p.About) {
		w.Line("        # %s", c)
	}
	w.Line("        - keys:\n            public: %q", p.PublicKey)
	if psk, ok := s.PresharedKeys[p.Name]; ok && !s.PrivateKey.IsZero() {
		w.key("            shared", psk.File())
	} else if p.PresharedKeyFile != "" {
		w.Line("            shared: %q", p.PresharedKeyFile)
	}
	if p.Endpoint != "" {
		w.Line("          endpoint: %q", p.Endpoints()[0])
	}
	if p.Keepalive != 0 {
		w.Line("          keepalive: %d", p.Keepalive)
	}
	w.Line("          allowed-ips:")
	for _, a := range p.AllowedIPs {
		w.Line("            - %q", a)
	}
}

// routes writes all routes: with networkd, netplan adds none for allowed IPs.
func (w *writer) routes() {
	v := w.View
	if len(v.Routes) > 0 {
		w.Line("      routes:")
	}
	for _, r := range v.Routes {
		w.Line("        - to: %q", r.Prefix)
		switch {
		case !r.Gateway.IsValid():
			w.Line("          scope: link")
		default:
			w.Line("          via: %q", r.Gateway)
			if foreign.OnLink(v, r) {
				w.Line("          on-link: true")
			}
		}
		if r.Metric != 0 {
			w.Line("          metric: %d", r.Metric)
		}
		if v.Table != 0 {
			w.Line("          table: %d", v.Table)
		}
	}
}
