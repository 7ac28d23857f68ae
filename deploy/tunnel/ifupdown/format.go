package ifupdown

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/words"
)

// Format returns the files of v for ifupdown and ifupdown-ng: a stanza for
// /etc/network/interfaces.d, and a file for `wg setconf`, both root's.
//
// Without secrets the second holds none either: the stanza has `wg set` read the key
// files, where v says they are. With secrets they are in the second file, of mode 0600.
//
// What the stanza sets it takes back on the way down, sysctls to what they were before.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	conf := "/etc/wireguard/" + v.Tunnel + ".conf"
	w := &writer{v: v, policy: policyRouted(v)}
	w.printf("# wgkeys: tunnel %s of host %s, as its tunnel file was when it was exported\n", v.Tunnel, v.Host)
	if !v.NoBoot {
		w.printf("auto %s\n", v.Tunnel)
	}
	w.address()
	if len(v.DNS) > 0 {
		w.dns()
	}
	w.link(conf, s)
	w.sysctls()
	w.routes()
	w.proxies()
	w.firewall()
	w.option("post-down", "ip link del $IFACE")
	w.putBack()
	return []foreign.File{
		{Name: "/etc/network/interfaces.d/" + v.Tunnel, Text: w.Bytes(), Mode: "0644", Owner: "root:root"},
		{Name: conf, Text: setconf(v, s), Mode: "0600", Owner: "root:root"},
	}, nil
}

// A writer writes a stanza.
type writer struct {
	bytes.Buffer
	v      *tunnel.View
	policy map[netip.Prefix]bool // the routes that rules keep the encrypted packets out of
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(&w.Buffer, format, args...) }

func (w *writer) option(key, format string, args ...any) {
	w.printf("\t"+key+" "+format+"\n", args...)
}

// address begins the stanza. One address is ifupdown's own affair. More would need a
// stanza each, and ifdown takes the link away with the first of them. A far end with a
// length is more than pointopoint can say.
func (w *writer) address() {
	v := w.v
	if w.manual() {
		w.printf("iface %s inet manual\n", v.Tunnel)
		return
	}
	family := "inet"
	if v.Addresses[0].Addr().Is6() {
		family = "inet6"
	}
	w.printf("iface %s %s static\n", v.Tunnel, family)
	w.option("address", "%s", v.Addresses[0])
}

func (w *writer) manual() bool { return len(w.v.Addresses) != 1 || len(w.v.Remotes) > 0 }

// dns is for whoever reads these options: resolvconf's or openresolv's script, or the
// one for systemd-resolved that comes with ifupdown.
func (w *writer) dns() {
	var servers, domains []string
	for _, d := range w.v.DNS {
		if _, err := netip.ParseAddr(d); err == nil {
			servers = append(servers, d)
		} else {
			domains = append(domains, d)
		}
	}
	if len(servers) > 0 {
		w.option("dns-nameservers", "%s", strings.Join(servers, " "))
	}
	if len(domains) > 0 {
		w.option("dns-search", "%s", strings.Join(domains, " "))
	}
}

// link makes the interface. Its MTU is said there: ifupdown's own option is that of IPv6
// alone in a stanza of inet6.
func (w *writer) link(conf string, s foreign.Secrets) {
	v := w.v
	if v.MTU != 0 {
		w.option("pre-up", "ip link add $IFACE mtu %d type wireguard", v.MTU)
	} else {
		w.option("pre-up", "ip link add $IFACE type wireguard")
	}
	w.option("pre-up", "wg setconf $IFACE %s", conf)
	if s.PrivateKey.IsZero() {
		w.option("pre-up", "wg set $IFACE private-key %s", words.ForShell(v.PrivateKeyFile))
	}
	for _, p := range v.Peers {
		if p.PresharedKeyFile != "" && s.PresharedKeys[p.Name].IsZero() {
			w.option("pre-up", "wg set $IFACE peer %s preshared-key %s", p.PublicKey, words.ForShell(p.PresharedKeyFile))
		}
	}
	if len(w.policy) > 0 && v.FwMark == 0 {
		w.option("pre-up", "wg set $IFACE fwmark %#x", w.mark())
	}
	if v.Description != "" { // ifupdown's own option comes before the interface is there
		w.option("up", "ip link set $IFACE alias %s", words.ForShell(v.Description))
	}
	if !w.manual() {
		return
	}
	for _, a := range v.Addresses {
		if far, ok := v.Remotes[a.Addr()]; ok {
			w.option("up", "ip address add %s peer %s dev $IFACE", a.Addr(), far)
		} else {
			w.option("up", "ip address add %s dev $IFACE", a)
		}
	}
}
