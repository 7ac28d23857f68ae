package foreign

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
)

// A Writer writes a file of another program for the host of a view, line by line.
type Writer struct {
	View *tunnel.View
	Text bytes.Buffer
	Is   string // what stands between a key and its value
}

// Line writes a line.
func (w *Writer) Line(format string, args ...any) {
	fmt.Fprintf(&w.Text, format, args...)
	w.Text.WriteByte('\n')
}

// Note writes a comment for the reader of the file. An import does not take it for one of
// the tunnel's (see [Comment]).
func (w *Writer) Note(format string, args ...any) { w.Line("# wgkeys: "+format, args...) }

// Given writes a line unless n is 0.
func (w *Writer) Given(key string, n int) {
	if n != 0 {
		w.Line("%s%s%d", key, w.Is, n)
	}
}

// Key writes a line with the content of a key file, and wipes it.
func (w *Writer) Key(name string, file []byte) {
	w.Text.WriteString(name + w.Is)
	w.Text.Write(file)
	clear(file)
}

// NoteReaders writes notes about the permissions that the key files need where
// systemd-networkd reads them.
func (w *Writer) NoteReaders() {
	files := []string{w.View.PrivateKeyFile}
	for _, p := range w.View.Peers {
		if p.PresharedKeyFile != "" {
			files = append(files, p.PresharedKeyFile)
		}
	}
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, path.Dir(f))
	}
	slices.Sort(dirs)
	w.Note("systemd-networkd reads the keys as the user systemd-network, which root's 0600 keeps out:")
	for _, d := range slices.Compact(dirs) {
		w.Note("chgrp systemd-network %s && chmod 0710 %[1]s", words.ForShell(d))
	}
	for _, f := range files {
		w.Note("chgrp systemd-network %s && chmod 0640 %[1]s", words.ForShell(f))
	}
}

// NoteHost writes notes about what is to be set up by hand for a program that has a key for
// none of it: forwarding, sysctls, masquerading, peers kept apart, NDP proxies. The lacking
// sentence says that the program does not masquerade.
func (w *Writer) NoteHost(lacking string) {
	v := w.View
	if v.Forward {
		w.Note("for all interfaces, in a file of /etc/sysctl.d: net.ipv4.ip_forward=1, net.ipv6.conf.all.forwarding=1")
	}
	for _, key := range slices.Sorted(maps.Keys(v.Sysctls)) {
		w.Note("in a file of /etc/sysctl.d: %s=%s", key, v.Sysctls[key])
	}
	if v.MasqueradeTunnel {
		w.Note("in /etc/nftables.conf: oifname %s masquerade", v.Tunnel)
	}
	if v.Isolate {
		w.Note("in /etc/nftables.conf: iifname %s oifname %[1]s drop", v.Tunnel)
	}
	uplinks := "!= " + v.Tunnel
	if len(v.MasqueradeBy) > 0 {
		uplinks = "{ " + strings.Join(v.MasqueradeBy, ", ") + " }"
	}
	for _, prefix := range v.Masquerade {
		w.Note("%s: in /etc/nftables.conf: %s saddr %s oifname %s masquerade", lacking,
			map[bool]string{true: "ip", false: "ip6"}[prefix.Addr().Is4()], prefix, uplinks)
	}
	for _, a := range v.Proxies {
		w.Note("%s: ip -6 neigh add proxy %[1]s dev UPLINK", a)
	}
}

// OnLink reports whether the gateway of r is in no network of the interface's addresses:
// then the route has to say that the gateway is reached through the interface.
func OnLink(v *tunnel.View, r tunnel.Route) bool {
	return r.Gateway.IsValid() &&
		!slices.ContainsFunc(v.Addresses, func(a netip.Prefix) bool { return a.Contains(r.Gateway) })
}
