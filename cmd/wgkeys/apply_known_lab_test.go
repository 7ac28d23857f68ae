package main

import (
	"net/netip"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/tunnel"
)

// knownView has something of each kind that apply looks at.
func knownView(v *tunnel.View) {
	v.MTU = 1380
	v.Forward, v.ForwardIPv4, v.ForwardIPv6 = true, true, true
	v.Masquerade = []netip.Prefix{netip.MustParsePrefix("2001:db8:7767::/64")}
	v.DNS = nil
	all := netip.MustParsePrefix("0.0.0.0/0") // the endpoints' family: rules, a table and a mark
	v.Addresses = append(v.Addresses, netip.MustParsePrefix("10.9.0.1/24"))
	v.Peers[1].AllowedIPs = append(v.Peers[1].AllowedIPs, all)
	v.Routes = append(v.Routes, tunnel.Route{Prefix: all, Peer: v.Peers[1].Name})
	v.Peers[0].PresharedKeyFile = "/etc/wireguard/wg0.psk"
}

// An apply that finds all as it was when there was nothing to do makes no plan.
// Whatever somebody changes by hand it sees nevertheless.
func TestLabApplyKnownHidesNoDrift(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "wg", "nft")
	h := newHub(t, 4)
	h.sh("umask 077 && wg genpsk >/etc/wireguard/wg0.psk")
	v := manyView(4)
	if err := v.PublicKey.UnmarshalText([]byte(strings.TrimSpace(h.sh("wg pubkey </etc/wireguard/wg0.key")))); err != nil {
		t.Fatal(err)
	}
	knownView(v)
	h.write(v, "wg0")

	const apply = "wgkeys apply -v --view wg0.view 2>&1"
	known := func() bool {
		t.Helper()
		return strings.Contains(h.sh(apply), "all is as it was when there was nothing to do")
	}
	settle := func() {
		t.Helper()
		if h.sh(apply); !strings.Contains(h.sh(apply), "nothing to do") {
			t.Fatal("a second apply finds something to do")
		}
		if !known() {
			t.Fatal("a third apply does not know that there is nothing to do")
		}
	}
	settle()

	peer, other := v.Peers[2].PublicKey.String(), v.Peers[3].PublicKey.String()
	for name, drift := range map[string]string{
		"peer removed": "wg set wg0 peer " + peer + " remove",
		"peer added":   "wg set wg0 peer $(wg genkey | wg pubkey)",
		"allowed IP moved": "wg set wg0 peer " + other + " allowed-ips " + v.Peers[3].AllowedIPs[0].String() + "," +
			v.Peers[2].AllowedIPs[0].String(),
		"psk changed": "wg genpsk >/root/psk && wg set wg0 peer " + v.Peers[0].PublicKey.String() +
			" preshared-key /root/psk",
		"psk file changed":    "wg genpsk >/etc/wireguard/wg0.psk",
		"keepalive changed":   "wg set wg0 peer " + peer + " persistent-keepalive 9",
		"port changed":        "wg set wg0 listen-port 30999",
		"mark changed":        "wg set wg0 fwmark 7",
		"route deleted":       "ip -6 route del " + v.Peers[2].AllowedIPs[0].String() + " dev wg0",
		"route added":         "ip -6 route add 2001:db8:1::/64 dev wg0",
		"address removed":     "ip -6 address del 2001:db8:7767::1/128 dev wg0",
		"address added":       "ip -6 address add 2001:db8:7767::99/128 dev wg0",
		"MTU changed":         "ip link set wg0 mtu 1400",
		"link down":           "ip link set wg0 down",
		"sysctl changed":      "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding",
		"rule removed":        "ip -4 rule del priority 32765",
		"nft table removed":   unfollow + "nft delete table inet wgkeys-wg0",
		"nft rule removed":    "nft flush table inet wgkeys-wg0",
		"other tunnel":        "printf 'wgkeys journal 1\\n+\\tsysctl net/ipv4/ip_forward\\t0\\t1\\n' >/run/wgkeys/wg9.journal",
		"journal changed":     "printf -- '-\\taddress 10.9.0.1/24\\n' >>/run/wgkeys/wg0.journal",
		"link made again":     "ip link del wg0",
		"path narrower":       "ip link set eth0 mtu 1400",
		"private key changed": "wg genkey >/root/key && wg set wg0 private-key /root/key",
	} {
		t.Run(name, func(t *testing.T) {
			h := &hub{t, h.Host}
			h.sh(drift)
			out, _ := h.Run(h.Context(), "sh", "-c", "cd /root; "+apply)
			if strings.Contains(out, "all is as it was") {
				t.Errorf("not seen after: %s\n%s", drift, out)
			}
		})
		h.sh("rm -f /run/wgkeys/wg9.journal")
		settle()
	}

	// The view for the next boot is kept also where nothing is planned.
	h.sh("rm /etc/wgkeys/wg0.view")
	if h.sh(apply); h.sh("cmp /root/wg0.view /etc/wgkeys/wg0.view") != "" {
		t.Error("the view is not kept")
	}
	h.sh("wgkeys down")
	if left := h.sh("ls /run/wgkeys"); strings.Contains(left, "known") || strings.Contains(left, "journal") {
		t.Errorf("down leaves %s", left)
	}
}
