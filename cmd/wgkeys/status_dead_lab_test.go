package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabStatusDeadTunnel: a tunnel that is up as its file says, and that nobody answers, is a
// finding, with its cause.
func TestLabStatusDeadTunnel(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(demo.FirstTunnel + "keepalive = 2\n")
	u.Clone()
	basalt := publicKeyOf(u, "basalt")
	for _, test := range []struct{ name, harm, mend, want string }{
		{"well", "true", "true", ""},
		{"firewall", "nft add table inet f && nft 'add chain inet f in { type filter hook input priority 0; }' && nft add rule inet f in udp dport 30567 drop", "nft delete table inet f",
			"nothing of it arrives at shale: its port 30567/udp is closed"},
		{"another key", "wg genkey | wg set wg0 private-key /dev/stdin", "true",
			"shale uses another key than basalt has for it"},
		{"unknown", "wg set wg0 peer " + basalt + " remove", "true", "shale does not know the key that basalt uses, " +
			basalt},
		{"another PSK", "wg genpsk >/root/psk; wg set wg0 peer " + basalt + " preshared-key /root/psk", "true",
			"the preshared keys differ, or a firewall of basalt drops UDP from " + demo.ShaleAddr},
		{"down", "wgkeys down --quiet --host shale", "true", "the tunnel is not up on shale: wgkeys apply shale"},
	} {
		u.Must(u.Basalt, "wgkeys down --quiet && wgkeys apply --quiet shale")
		u.Must(u.Shale, test.harm)
		u.Must(u.Basalt, "wgkeys apply --quiet")
		r := u.Run(u.Basalt, "wgkeys status basalt")
		found := strings.Contains(r.Stdout, "! shale does not answer at "+demo.ShaleAddr+":30567, OUTSIDE (")
		if test.want == "" && (r.Code != ui.ExitDone || found) || test.want != "" && (r.Code != ui.ExitFindings || !found ||
			!strings.Contains(r.Stdout, test.want)) {
			t.Errorf("%s: exit %d, want %q\n%s%s", test.name, r.Code, test.want, r.Stdout, r.Stderr)
		}
		u.Must(u.Shale, test.mend)
	}
	u.Must(u.Basalt, "wgkeys down --quiet")
}

// TestLabStatusNothingIsSent: a tunnel through which nothing can be sent is a finding, though
// nothing is counted as sent: there is no way to the peer, or the device stands still.
func TestLabStatusNothingIsSent(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet")
	const noWay = "nothing can be sent to shale at " + demo.ShaleAddr + ", OUTSIDE: this host has no route there"
	for _, test := range []struct {
		name, harm, mend, want string
		code                   int
	}{
		{"well", "true", "true", "", ui.ExitDone},
		{"blackhole", "ip route add blackhole " + demo.ShaleAddr, "ip route del blackhole " + demo.ShaleAddr, noWay,
			ui.ExitFindings},
		{"unreachable", "ip route add unreachable " + demo.ShaleAddr, "ip route del unreachable " + demo.ShaleAddr, noWay,
			ui.ExitFindings},
		{"no default route", "ip route show default >/root/default && ip route del default",
			"ip route add $(cat /root/default)", noWay, ui.ExitFindings},
		{"well again", "true", "true", "", ui.ExitDone},
	} {
		u.Must(u.Basalt, test.harm)
		r, plan := u.Run(u.Basalt, "wgkeys status basalt"), u.Run(u.Basalt, "wgkeys plan")
		u.Must(u.Basalt, test.mend)
		if r.Code != test.code || strings.Contains(r.Stdout, noWay) != (test.want != "") {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", test.name, r.Code, test.code, test.want, r.Stdout, r.Stderr)
		}
		if strings.Contains(plan.Stderr, noWay) != (test.want != "") {
			t.Errorf("%s: plan says %s%s", test.name, plan.Stdout, plan.Stderr)
		}
	}
	if link := u.Must(u.Basalt, "ip -d link show wg0"); !strings.Contains(link, "tun ") {
		return // the kernel's own device stands still with the kernel alone
	}
	const processes = "pgrep -f '^wgkeys-device wg0' | while read p; do [ $(readlink /proc/$p/ns/net) = $(readlink /proc/self/ns/net) ] && kill -%s $p; done; true"
	u.Must(u.Basalt, fmt.Sprintf(processes, "STOP"))
	r := u.Run(u.Basalt, "wgkeys plan")
	u.Must(u.Basalt, fmt.Sprintf(processes, "CONT"))
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "does not answer: it is stopped, or hangs") {
		t.Errorf("a device that stands still: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys plan && wgkeys down --quiet && wgkeys down --quiet shale")
}

// TestLabStatusLossyTunnel: handshakes and small packets pass, and large ones do not.
func TestLabStatusLossyTunnel(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
	u.Must(u.Router, "nft add table inet f && nft 'add chain inet f fw { type filter hook forward priority 0; }' && nft add rule inet f fw iifname basalt0 udp dport 30567 meta length '>' 1000 drop")
	if r := u.Run(u.Basalt, "wgkeys status"); r.Code != ui.ExitDone {
		t.Errorf("before: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "ping -6 -n -q -s 1300 -i 0.01 -c 100 -W 1 "+demo.Internet+" >/dev/null; true")
	if r := u.Run(u.Basalt, "wgkeys status"); r.Code != ui.ExitDone {
		t.Errorf("lost, and nothing is sent any more: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "ping -6 -n -q -s 1300 -i 0.2 "+demo.Internet+" </dev/null >/dev/null 2>&1 &")
	r := u.Run(u.Basalt, "wgkeys status")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, " sent to shale in the last seconds ") ||
		strings.Count(r.Stdout, "  ! ") != 1 {
		t.Errorf("large packets are lost: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "pkill ping; wgkeys down --quiet && wgkeys down --quiet shale")
}
