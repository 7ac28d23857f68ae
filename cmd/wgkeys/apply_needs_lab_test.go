package main

import (
	"strings"
	"testing"

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
	u := newUsers(t)
	u.tunnel(defaultRouteTunnel)
	u.clone()
	before := u.snapshot(u.Shale)
	const forwarding = "sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding net.ipv4.conf.all.accept_redirects"
	for name, c := range map[string]struct{ begin, end, who string }{
		"containers": {containers, noContainers, "the nftables table ip nat, which translates addresses,"},
		"a bridge":   {strings.Split(containers, "\nnft")[0], strings.TrimPrefix(noContainers, "nft delete table ip nat; "), "the bridge docker0"},
		"a file": {"echo '-net.ipv4.ip_forward=1' >/etc/sysctl.d/90-router.conf", "rm /etc/sysctl.d/90-router.conf",
			"what wrote /etc/sysctl.d/90-router.conf"},
	} {
		u.must(u.Shale, "wgkeys apply -q; set -e; "+c.begin)
		was := u.must(u.Shale, forwarding)
		r := u.run(u.Shale, "wgkeys down")
		if want := "note: net.ipv4.ip_forward stays 1: " + c.who + " needs it by now"; r.code != ui.ExitDone || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: down exits %d and says\n%swant %q", name, r.code, r.stderr, want)
		}
		if now := u.must(u.Shale, forwarding); now != was || !strings.HasPrefix(now, "1\n1\n") {
			t.Errorf("%s: forwarding was\n%sand is\n%s", name, was, now)
		}
		u.must(u.Shale, "sysctl -q -w net.ipv4.ip_forward=0; set -e; "+c.end)
		u.same(u.Shale, before, name+" gone, and forwarding off")

		u.must(u.Shale, "set -e; "+c.begin)
		r = u.run(u.Shale, "wgkeys apply -q && wgkeys down")
		if now := u.must(u.Shale, forwarding); r.code != ui.ExitDone || strings.Contains(r.stderr, "by now") || !strings.HasPrefix(now, "0\n0\n") {
			t.Errorf("%s, there before the tunnel: exit %d\n%sforwarding is\n%s", name, r.code, r.stderr, now)
		}
		u.must(u.Shale, "set -e; "+c.end)
		u.same(u.Shale, before, name+" was there before the tunnel")
	}

	// A tunnel that takes the default route has the reverse path check look at marks.
	was := u.snapshot(u.Basalt)
	u.must(u.Basalt, "wgkeys apply -q && ip rule add not fwmark 0x77 table 77 priority 700")
	r := u.run(u.Basalt, "wgkeys down")
	if !strings.Contains(r.stderr, "note: net.ipv4.conf.all.src_valid_mark stays 1: the rule of priority 700 for mark 0x77 needs it by now") {
		t.Errorf("down exits %d and says\n%s", r.code, r.stderr)
	}
	u.must(u.Basalt, "ip rule del priority 700 && sysctl -q -w net.ipv4.conf.all.src_valid_mark=0")
	u.same(u.Basalt, was, "in the end")
}
