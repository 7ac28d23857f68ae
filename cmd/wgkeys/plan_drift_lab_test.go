package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// A drift is something of ours that somebody else changed, and what plan says
// about it.
type drift struct{ name, script, plan string }

// unfollow ends the process that would restore it; an apply starts it again.
const unfollow = "pkill -f '^wgkeys-names'; "

// shaleDrifts are what another program, or a hand, may take away from a router.
var shaleDrifts = []drift{
	{"a peer", "wg set wg0 peer $(cat keyring/basalt/wg0.pub) remove", "allowed-ips +10.77.0.2/32,+2001:db8:7767::2/128"},
	{"an allowed IP", "wg set wg0 peer $(cat keyring/basalt/wg0.pub) allowed-ips 10.77.0.2/32",
		"allowed-ips +2001:db8:7767::2/128"},
	{"an allowed IP that another peer has",
		"wg set wg0 peer $(wg genkey | wg pubkey) allowed-ips 10.77.0.2/32; wg show wg0 peers | grep -v $(cat keyring/basalt/wg0.pub) >/run/stranger",
		"allowed-ips +10.77.0.2/32"},
	{"the preshared key", "wg set wg0 peer $(cat keyring/basalt/wg0.pub) preshared-key /dev/null",
		"preshared-key /etc/wireguard/wg0.basalt.psk"},
	{"another preshared key", "wg genpsk | wg set wg0 peer $(cat keyring/basalt/wg0.pub) preshared-key /dev/stdin",
		"preshared-key /etc/wireguard/wg0.basalt.psk"},
	{"the keepalive", "wg set wg0 peer $(cat keyring/basalt/wg0.pub) persistent-keepalive 7", "persistent-keepalive 0"},
	{"the private key", "wg set wg0 private-key /dev/null", "private-key /etc/wireguard/wg0.key"},
	{"another private key", "wg genkey | wg set wg0 private-key /dev/stdin", "private-key /etc/wireguard/wg0.key"},
	{"the port", "wg set wg0 listen-port 4242", "listen-port 30567"},
	{"the MTU", "ip link set wg0 mtu 1300", "ip link set wg0 mtu 1400"},
	{"the IPv4 address", "ip address del 10.77.0.1/24 dev wg0", "ip -4 address add 10.77.0.1/24"},
	{"all addresses", "ip address flush dev wg0", "ip -6 address add 2001:db8:7767::1/128"},
	{"a route", "ip -6 route del 2001:db8:7767::2/128 dev wg0", "ip -6 route add 2001:db8:7767::2/128"},
	{"the link is down", "ip link set wg0 down", "ip link set wg0 up"},
	{"a neighbour proxy", unfollow + "ip -6 neigh del proxy 2001:db8:7767::2 dev eth0",
		"ip -6 neigh add proxy 2001:db8:7767::2 dev eth0"},
	{"proxying", "sysctl -qw net.ipv6.conf.eth0.proxy_ndp=0", "net.ipv6.conf.eth0.proxy_ndp=1"},
	{"IPv4 forwarding", "sysctl -qw net.ipv4.ip_forward=0", "net.ipv4.ip_forward=1"},
	{"IPv6 forwarding", "sysctl -qw net.ipv6.conf.all.forwarding=0", "forwarding=1"},
	{"the uplink's accept_ra", "sysctl -qw net.ipv6.conf.eth0.accept_ra=1", "net.ipv6.conf.eth0.accept_ra=2"},
	{"a parameter of the tunnel file", "sysctl -qw net.ipv4.conf.all.log_martians=0", "net.ipv4.conf.all.log_martians=1"},
	{"the nftables table", unfollow + "nft delete table inet wgkeys-wg0", "nft add table inet wgkeys-wg0"},
	{"as many nftables rules",
		"nft 'flush chain inet wgkeys-wg0 masquerading; add rule inet wgkeys-wg0 masquerading accept'",
		"nft add table inet wgkeys-wg0"},
	{"all nftables", unfollow + "nft flush ruleset", "nft add table inet wgkeys-wg0"},
	{"the interface", "ip link del wg0", "ip link add wg0"},
}

// What somebody took away plan shows, and apply brings back: all is as it was
// at the first apply.
func TestLabPlanDriftOfRouter(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(strings.Replace(faultTunnel, "[hosts.basalt]", "psk       = true\n\n[hosts.basalt]", 1))
	u.Clone()
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "(umask 077; wg genpsk >/etc/wireguard/wg0.basalt.psk) && wgkeys apply")
	state := func() string {
		if err := u.Shale.WaitAddresses(t.Context()); err != nil {
			t.Fatal(err)
		}
		const device = "wg show wg0 public-key; wg show wg0 listen-port; wg show wg0 fwmark; wg show wg0 preshared-keys | sha256sum; " +
			"wg show wg0 persistent-keepalive; wg show wg0 allowed-ips | tr ' \\t' '\\n\\n' | sort"
		return linkNumber().ReplaceAllString(u.Snapshot(u.Shale), "N: wg0:") + u.Must(u.Shale, device)
	}
	want := state()
	for _, d := range shaleDrifts {
		u.Must(u.Shale, d.script)
		if plan := u.Run(u.Shale, "wgkeys plan"); plan.Code != ui.ExitFindings || !strings.Contains(plan.Stdout, d.plan) {
			t.Errorf("%s: plan exits %d and does not show %q:\n%s%s", d.name, plan.Code, d.plan, plan.Stdout, plan.Stderr)
		}
		if r := u.Run(u.Shale,
			"wgkeys apply && ! test -e /run/stranger || wg set wg0 peer $(cat /run/stranger) remove; rm -f /run/stranger"); r.Code != 0 {
			t.Errorf("%s: apply exits %d\n%s", d.name, r.Code, r.Stderr)
		}
		if diff := demo.LineDiff(want, state()); diff != "" {
			t.Errorf("%s: not as it was at the first apply\n%s", d.name, diff)
		}
	}
	u.Must(u.Shale, "wgkeys down; rm /etc/wireguard/wg0.basalt.psk")
	u.Same(u.Shale, before, "after down")
}

// policyRoutingDrifts are the same for a host whose default route is the tunnel, in
// the family of the endpoint. systemd-networkd takes away rules and routes that
// it does not know where it is not told otherwise.
var policyRoutingDrifts = []drift{
	{"one rule", "ip -4 rule del priority 32765", "not fwmark"},
	{"both rules", "ip -4 rule del priority 32764; ip -4 rule del priority 32765", "suppress_prefixlength 7"},
	{"the default route", "ip -4 route flush table 51820", "ip -4 route add 0.0.0.0/0 dev wg0 table 51820"},
	{"the kill switch", "ip -4 route del unreachable default table 51820", "ip -4 route add unreachable 0.0.0.0/0"},
	{"rules and routes", "ip -4 rule del priority 32764; ip -4 rule del priority 32765; ip -4 route flush table 51820",
		"ip -4 route add 0.0.0.0/0"},
	{"the mark", "wg set wg0 fwmark 0", "fwmark 0x57"},
	{"the spoof guard", unfollow + "nft delete table inet wgkeys-wg0", "nft add table inet wgkeys-wg0"},
	{"a spoof guard that lets all pass", "nft 'flush chain inet wgkeys-wg0 guard; add rule inet wgkeys-wg0 guard accept'",
		"nft add table inet wgkeys-wg0"},
	{"src_valid_mark", "sysctl -qw net.ipv4.conf.all.src_valid_mark=0", "net.ipv4.conf.all.src_valid_mark=1"},
}

// Where kernel parameters are read-only, as in most containers, a tunnel that
// needs none of them comes up all the same.
func TestLabApplyReadOnlyParameters(t *testing.T) {
	u := labtest.FirstUsers(t)
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
	u.Must(u.Basalt, "wgkeys apply")
	if out := u.Must(u.Basalt, "wgkeys plan"); out != "" {
		t.Errorf("the second plan is not empty:\n%s", out)
	}
	u.Must(u.Basalt, "wgkeys down; umount /proc/sys")
	u.Same(u.Basalt, before, "after down")
}

func TestLabPlanDriftOfPolicyRouting(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(defaultRouteTunnel)
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply")
	want := u.Snapshot(u.Basalt)
	for _, d := range policyRoutingDrifts {
		u.Must(u.Basalt, d.script)
		if plan := u.Run(u.Basalt, "wgkeys plan"); plan.Code != ui.ExitFindings || !strings.Contains(plan.Stdout, d.plan) {
			t.Errorf("%s: plan exits %d and does not show %q:\n%s%s", d.name, plan.Code, d.plan, plan.Stdout, plan.Stderr)
		}
		u.Must(u.Basalt, "wgkeys apply")
		u.Same(u.Basalt, want, d.name)
	}
	u.Must(u.Basalt, "wgkeys down")
	u.Same(u.Basalt, before, "after down")
}
