package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// containers are started as Docker starts them: it turns forwarding on where that is
// off, and finds it on while the tunnel is up.
const (
	containers = `ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link add veth1 type veth peer name veth2
ip link set veth1 master docker0
ip link set docker0 up
nft add table ip nat
nft 'add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }'
nft add rule ip nat POSTROUTING ip saddr 172.17.0.0/16 oifname != docker0 masquerade`
	noContainers = "nft delete table ip nat; ip link del veth1; ip link del docker0"
)

// Down puts back what there was, and asks once more whether it may: what somebody has
// come to need since stays, and down says who. What was there before the tunnel did
// without, and does so again.
func TestLabApplyNeededByNow(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(defaultRouteTunnel)
	u.Clone()
	before := u.Snapshot(u.Shale)
	const forwarding = "sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding net.ipv4.conf.all.accept_redirects"
	for name, c := range map[string]struct{ begin, end, who string }{
		"containers": {containers, noContainers, "the nftables table ip nat, which translates addresses,"},
		"a bridge": {strings.Split(containers, "\nnft")[0], strings.TrimPrefix(noContainers, "nft delete table ip nat; "),
			"the bridge docker0"},
		"a file": {"echo '-net.ipv4.ip_forward=1' >/etc/sysctl.d/90-router.conf", "rm /etc/sysctl.d/90-router.conf",
			"what wrote /etc/sysctl.d/90-router.conf"},
	} {
		u.Must(u.Shale, "wgkeys apply -q; set -e; "+c.begin)
		was := u.Must(u.Shale, forwarding)
		r := u.Run(u.Shale, "wgkeys down")
		if want := "note: net.ipv4.ip_forward stays 1: " + c.who + " needs it by now"; r.Code != ui.ExitDone ||
			!strings.Contains(r.Stderr, want) {
			t.Errorf("%s: down exits %d and says\n%swant %q", name, r.Code, r.Stderr, want)
		}
		if now := u.Must(u.Shale, forwarding); now != was || !strings.HasPrefix(now, "1\n1\n") {
			t.Errorf("%s: forwarding was\n%sand is\n%s", name, was, now)
		}
		u.Must(u.Shale, "sysctl -q -w net.ipv4.ip_forward=0; set -e; "+c.end)
		u.Same(u.Shale, before, name+" gone, and forwarding off")

		u.Must(u.Shale, "set -e; "+c.begin)
		r = u.Run(u.Shale, "wgkeys apply -q && wgkeys down")
		if now := u.Must(u.Shale, forwarding); r.Code != ui.ExitDone || strings.Contains(r.Stderr, "by now") ||
			!strings.HasPrefix(now, "0\n0\n") {
			t.Errorf("%s, there before the tunnel: exit %d\n%sforwarding is\n%s", name, r.Code, r.Stderr, now)
		}
		u.Must(u.Shale, "set -e; "+c.end)
		u.Same(u.Shale, before, name+" was there before the tunnel")
	}

	// A tunnel that takes the default route has the reverse path check look at marks.
	was := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply -q && ip rule add not fwmark 0x77 table 77 priority 700")
	r := u.Run(u.Basalt, "wgkeys down")
	if !strings.Contains(r.Stderr,
		"note: net.ipv4.conf.all.src_valid_mark stays 1: the rule of priority 700 for mark 0x77 needs it by now") {
		t.Errorf("down exits %d and says\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "ip rule del priority 700 && sysctl -q -w net.ipv4.conf.all.src_valid_mark=0")
	u.Same(u.Basalt, was, "in the end")
}
