package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// fullTunnel has shale do all that apply can do to a host: both families,
// forwarding for both, and proxy neighbours.
const fullTunnel = `listen_port = 30567

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.77.0.1/24", "2001:db8:7767::1/128"]
routes    = ["::/0"]
forward   = true
ndp_proxy = true
mtu       = 1400
sysctls   = { "net.ipv4.conf.wg0.rp_filter" = "0", "net.ipv4.conf.all.log_martians" = "1" }

[hosts.basalt]
addresses = ["10.77.0.2/32", "2001:db8:7767::2/128"]
`

// Whatever the values were before apply, and whatever else is on the host: down
// brings back just that, and a second apply has nothing to do, nor to write into the
// journal.
func TestLabDownRestores(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Must(u.Shale, "ip link add extra0 type veth peer name extra1 && ip link set extra0 up && ip link set extra1 up")
	if err := u.Shale.WaitAddresses(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { u.Must(u.Shale, "ip link del extra0") }()
	u.Tunnel(fullTunnel)
	u.Clone()
	for _, c := range []struct{ name, set, unset string }{
		{"as it came", "true", "true"},
		{"advertisements accepted as by a router", "sysctl -w net.ipv6.conf.eth0.accept_ra=2",
			"sysctl -w net.ipv6.conf.eth0.accept_ra=1"},
		{"one interface forwards", "sysctl -w net.ipv6.conf.extra0.forwarding=1 net.ipv4.conf.extra1.forwarding=1",
			"sysctl -w net.ipv6.conf.extra0.forwarding=0 net.ipv4.conf.extra1.forwarding=0"},
		{"the default forwards", "sysctl -w net.ipv6.conf.default.forwarding=1",
			"sysctl -w net.ipv6.conf.default.forwarding=0"},
		{"no redirects", "sysctl -w net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.all.send_redirects=0",
			"sysctl -w net.ipv4.conf.all.accept_redirects=1 net.ipv4.conf.all.send_redirects=1"},
		{"a proxy already", "sysctl -w net.ipv6.conf.eth0.proxy_ndp=1; ip -6 neigh add proxy 2001:db8:5::99 dev eth0",
			"sysctl -w net.ipv6.conf.eth0.proxy_ndp=0; ip -6 neigh del proxy 2001:db8:5::99 dev eth0"},
		{"the very proxy", "ip -6 neigh add proxy 2001:db8:7767::2 dev eth0",
			"ip -6 neigh del proxy 2001:db8:7767::2 dev eth0"},
		{"a router already", "sysctl -w net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1",
			"sysctl -w net.ipv6.conf.all.forwarding=0 net.ipv4.ip_forward=0 net.ipv6.conf.eth0.accept_ra=1"},
		{"foreign routes, rules and filters", othersRoutes, unforeign},
	} {
		u.Must(u.Shale, "set -e; "+c.set)
		before := u.Snapshot(u.Shale)
		u.Must(u.Shale, "wgkeys apply && ip link show wg0 && wgkeys plan && wgkeys apply && wgkeys down")
		u.Same(u.Shale, before, c.name)
		u.Must(u.Shale, c.unset)
	}
}

const othersRoutes = `ip -6 route add 2001:db8:dddd::/48 dev extra0 metric 77
ip -6 route add 2001:db8:7767::2/128 dev extra0 metric 77
ip -6 route add default dev extra0 table 7767
ip -4 route add 10.77.0.0/16 dev extra0
ip -6 rule add from 2001:db8:dddd::/48 table 7767 priority 500
ip -4 rule add fwmark 0x7767 table 7767 priority 501
nft 'table inet foreign { chain c { type filter hook forward priority 0; ip6 daddr 2001:db8:dddd::/48 accept; }; }'
ip -6 neigh add proxy 2001:db8:5::98 dev extra0`

const unforeign = `nft delete table inet foreign
ip -6 rule del priority 500
ip -4 rule del priority 501`

// The record of an apply is gone, as where /run is a container's own and the network is the
// host's: down does not say that nothing is up, and its hint leads on.
func TestLabDownWithoutRecord(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(demo.FirstTunnel)
	u.Clone()
	u.Must(u.Basalt, "wgkeys apply && rm -r /run/wgkeys")
	for _, command := range []string{"wgkeys down", "wgkeys down -n", "wgkeys down -t wg0"} {
		r := u.Run(u.Basalt, command)
		want := "error: cannot bring down the tunnel \"wg0\": it is up, and there is no record in /run/wgkeys"
		if r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s exits %d and says %q, want %q", command, r.Code, r.Stderr, want)
		}
	}
	u.Must(u.Basalt, "ip link show wg0 && wgkeys import --take-over -t wg0 && wgkeys down -t wg0 && ! ip link show wg0")
	if r := u.Run(u.Basalt, "wgkeys down"); r.Code != 0 || !strings.Contains(r.Stderr, "no tunnel of wgkeys is up") {
		t.Errorf("down once more exits %d and says %q", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "rm -r /etc/wgkeys/*")
}

// What somebody changed while the tunnel was up is his, and stays; the rest is
// put back.
func TestLabDownLeavesOthersChanges(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(strings.Replace(demo.FirstTunnel, "forward   =",
		`sysctls   = { "net.ipv4.tcp_mtu_probing" = "1" }`+"\nforward   =", 1))
	u.Clone()
	u.Must(u.Shale, "wgkeys apply; sysctl -w net.ipv4.tcp_mtu_probing=2; nft add table inet foreign")
	r := u.Run(u.Shale, "wgkeys down -t wg9")
	if want := "wgkeys: no tunnel wg9 was applied here, but: wg0\n"; r.Code != 0 || !strings.HasPrefix(r.Stderr, want) {
		t.Errorf("down of another tunnel exits %d and says %q, want %q", r.Code, r.Stderr, want)
	}
	r = u.Run(u.Shale, "wgkeys down")
	if want := "wgkeys: note: net.ipv4.tcp_mtu_probing is 2, which wgkeys did not set: left alone\n"; r.Code != 0 ||
		!strings.Contains(r.Stderr, want) {
		t.Errorf("down exits %d and says %q, want %q", r.Code, r.Stderr, want)
	}
	u.Want("shale", u.Must(u.Shale, "sysctl net.ipv4.tcp_mtu_probing "+forwardingOf(u)+"; nft list tables"),
		"net.ipv4.tcp_mtu_probing = 2", forwardingOf(u)+" = 0", "table inet foreign")
	u.Must(u.Shale, "sysctl -w net.ipv4.tcp_mtu_probing=0; nft delete table inet foreign")
}

// TestLabDownOneMachine: two hosts of the tunnel file lead to one machine. What is done without a
// view, by the name of the host that has no tunnel there, does not touch that of the other. A
// host that was renamed is known by its key.
func TestLabDownOneMachine(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, `printf 'Host slate\nHostName 93.93.130.7\nUser root\nHostKeyAlias 93.93.130.7\n' >>/root/.ssh/config
		printf '[hosts.slate]\nssh = "slate"\naddresses = ["2001:db8:7767::3/128"]\n' >>tunnels/wg0.toml
		wgkeys gen -q slate; wgkeys push shale`)
	view := u.Must(u.Basalt, "wgkeys show --json shale")
	u.Write(u.Shale, "/run/shale.view", view)
	u.Must(u.Shale, "wgkeys apply -q --view /run/shale.view --confirm 5m")
	const other = `this is not the machine of host "slate": its tunnel is that of shale, and ssh leads here by both names`
	refused := func(verb string, code int) {
		t.Helper()
		r := u.Run(u.Basalt, "wgkeys "+verb)
		if r.Code != code || !strings.Contains(r.Stderr, other) ||
			!strings.Contains(r.Stderr, "[hosts.slate]; if it is its machine: wgkeys apply slate") {
			t.Errorf("%s exits %d: %s%s", verb, r.Code, r.Stdout, r.Stderr)
		}
		u.Must(u.Shale, "wg show wg0 && command -v wgkeys && test -e /etc/wireguard/wg0.key")
	}
	refused("confirm slate", ui.ExitFailed)
	refused("down slate", ui.ExitFailed) // nor is the apply that waits undone
	u.Must(u.Basalt, "wgkeys confirm shale")
	refused("down slate", ui.ExitFailed)
	refused("down -n slate", ui.ExitFailed)
	refused("down 'slat*'", ui.ExitFailed)
	refused("uninstall -y slate", ui.ExitFailed)
	refused("uninstall -y --keys slate", ui.ExitFailed)
	r := u.Run(u.Basalt, "wgkeys down slate shale")
	if r.Code != ui.ExitSome || !strings.Contains(r.Stderr, other) ||
		!strings.Contains(r.Stderr, "fixed: wgkeys down slate\n") {
		t.Errorf("down of both exits %d: %s", r.Code, r.Stderr)
	}
	if u.Run(u.Shale, "wg show wg0").Code == 0 {
		t.Error("the tunnel of shale is up")
	}
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys mv -y shale stone && wgkeys down stone")
	if u.Run(u.Shale, "wg show wg0").Code == 0 {
		t.Error("the tunnel of a host that was renamed is up")
	}
}
