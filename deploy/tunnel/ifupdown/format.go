package ifupdown

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/words"
)

// Format writes v for ifupdown and ifupdown-ng: a stanza for /etc/network/interfaces.d, and
// a file for `wg setconf`. Both belong to root.
//
// Without secrets the second file holds none either: the stanza runs `wg set` with the
// paths of the key files that v has. With secrets the keys are in the second file, of mode
// 0600.
//
// On the way down the stanza undoes what it did, and restores the old values of sysctls.
func Format(v *tunnel.View, s foreign.Secrets) ([]foreign.File, error) {
	conf := "/etc/wireguard/" + v.Tunnel + ".conf"
	w := &writer{v: v, policy: foreign.PolicyRouted(v)}
	w.printf("# wgkeys: tunnel %s of host %s, as its tunnel file was when it was exported\n", v.Tunnel, v.Host)
	for _, lost := range slices.Concat(foreign.Untried(v), foreign.InTheClear(v), foreign.EveryName(v)) {
		w.printf("# wgkeys: %s\n", lost)
	}
	if v.MTU == 0 {
		w.printf("# wgkeys: ifupdown2 sets an MTU of 1500 unless the stanza says: mtu %d\n", usualMTU)
	}
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

// usualMTU is the kernel's default for a WireGuard interface.
const usualMTU = 1420

// A writer writes a stanza.
type writer struct {
	bytes.Buffer
	v      *tunnel.View
	policy map[netip.Prefix]bool // the routes in a table that encrypted packets do not use
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(&w.Buffer, format, args...) }

func (w *writer) option(key, format string, args ...any) {
	w.printf("\t"+key+" "+format+"\n", args...)
}

// address begins the stanza. A single address is written as an option. More would need a
// stanza each, and ifdown removes the link with the first of them. A remote prefix is more
// than pointopoint can express.
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

// dns writes options for the programs that read them: the scripts of resolvconf and
// openresolv, or ifupdown's for systemd-resolved.
func (w *writer) dns() {
	servers, domains := tunnel.SplitDNS(w.v.DNS)
	if len(servers) > 0 {
		w.option("dns-nameservers", "%s", strings.Join(servers, " "))
	}
	if len(domains) > 0 {
		w.option("dns-search", "%s", strings.Join(domains, " "))
	}
}

// link makes the interface. The MTU is set in the command, because the option mtu sets that
// of IPv6 alone in a stanza of inet6, and once more afterwards, because ifupdown2 sets the default
// of its own where there is no such option (_process_mtu_config_mtu_none in its address.py).
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
		w.option("pre-up", "wg set $IFACE fwmark %#x", foreign.PolicyMark(v))
	}
	if v.Description != "" { // ifupdown sets its own option before the interface exists
		w.option("up", "ip link set $IFACE alias %s", words.ForShell(v.Description))
	}
	if v.MTU != 0 {
		w.option("up", "ip link set $IFACE mtu %d", v.MTU)
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
