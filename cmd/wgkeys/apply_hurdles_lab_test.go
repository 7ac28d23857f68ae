package main

import (
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

func init() {
	// listen-udp has a port until it is killed.
	testPrograms["listen-udp"] = func() {
		c, err := net.ListenPacket("udp4", "127.0.0.1:"+os.Args[1])
		if err != nil {
			panic(err)
		}
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		c.Close()
	}
}

const homeTunnel = `listen_port = 30567

[hosts.shale]
ssh       = "root@93.93.130.7"
endpoint  = "93.93.130.7"
addresses = ["10.9.0.1/32", "fd00:9::1/128"]
routes    = ["198.18.0.0/24", "10.20.0.0/16", "fd00:20::/64"]

[hosts.basalt]
addresses = ["10.9.0.2/32", "fd00:9::2/128"]
`

// A laptop comes into a house that has the network of the office: what the tunnel
// cannot have is reported by plan, apply and status, all else works, and in the next
// house it has it. The house may also come after the tunnel.
func TestLabApplySameNetwork(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	if err := u.Link(u.Basalt, "eth1", u.Router, "house0"); err != nil {
		t.Fatal(err)
	}
	u.Tunnel(homeTunnel)
	u.Clone()
	u.Must(u.Shale, "ip address add 10.20.0.1/32 dev lo && wgkeys apply -q")
	before := u.Snapshot(u.Basalt)
	const house, leave = "ip address add 198.18.0.50/24 dev eth1", "ip address del 198.18.0.50/24 dev eth1"
	const found = "finding: 198.18.0.0/24, INSIDE, of peer shale is not routed into the tunnel: it is also the network of eth1"
	u.Must(u.Basalt, house)
	plan := u.Run(u.Basalt, "wgkeys plan")
	if !strings.Contains(plan.Stderr, found) || strings.Contains(plan.Stdout, "route add 198.18.0.0/24") {
		t.Errorf("plan exits %d and says\n%s%s", plan.Code, plan.Stdout, plan.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply && ping -n -c 3 -i 0.2 -w 10 10.20.0.1 && ip route get 198.18.0.9 | grep -q 'dev eth1'")
	again := u.Run(u.Basalt, "wgkeys plan")
	if again.Code != ui.ExitDone || again.Stdout != "" || !strings.Contains(again.Stderr, found) {
		t.Errorf("the second plan exits %d and says\n%s%s", again.Code, again.Stdout, again.Stderr)
	}
	if r := u.Run(u.Basalt, "wgkeys status basalt"); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "198.18.0.0/24, INSIDE") {
		t.Errorf("status exits %d and says\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, leave+" && wgkeys apply && ip route get 198.18.0.9 | grep -q 'dev wg0'")
	u.Must(u.Basalt, house)
	if r := u.Run(u.Basalt, "wgkeys plan"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr,
			"note: 198.18.0.0/24, INSIDE, goes into the tunnel; eth1 has a route to the same prefix") {
		t.Errorf("the house came after the tunnel: plan exits %d and says\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys down && "+leave)
	u.Same(u.Basalt, before, "after down")

	// IPv6 takes both routes, and the network's own wins by its metric.
	u.Must(u.Basalt, "ip address add fd00:20::50/64 dev eth1 nodad")
	if r := u.Run(u.Basalt, "wgkeys apply"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr,
			"finding: fd00:20::/64, INSIDE, does not go into the tunnel: eth1 has a route to it of metric 256") {
		t.Errorf("IPv6: apply exits %d and says\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "ping -6 -n -c 3 -i 0.2 -w 10 fd00:9::1; wgkeys down; ip address del fd00:20::50/64 dev eth1")

	// The house has given the laptop the address that it has INSIDE.
	u.Must(u.Basalt, "ip address add 10.9.0.2/24 dev eth1")
	if r := u.Run(u.Basalt, "wgkeys plan"); !strings.Contains(r.Stderr,
		"finding: address 10.9.0.2, INSIDE, is also on eth1") {
		t.Errorf("the same address: plan exits %d and says\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "ip address del 10.9.0.2/24 dev eth1")
	u.Same(u.Basalt, before, "in the end")
}

// A port that a program or another tunnel has is named by plan, with its owner, and
// apply changes nothing; check sees two tunnels that want one.
func TestLabApplyPortOfAnother(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Basalt.Install("listen-udp", self); err != nil {
		t.Fatal(err)
	}
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "listen-udp 30567 >/dev/null 2>&1 & echo $! >/run/listener; for i in $(seq 100); do ss -uln | grep -q :30567 && break; sleep 0.1; done")
	refusesBoth(u, `cannot use the port of tunnel "wg0": listen-udp (process `, "wg0")
	u.Must(u.Basalt, "kill $(cat /run/listener); rm /run/listener; for i in $(seq 100); do ss -uln | grep -q :30567 || break; sleep 0.1; done")
	u.Same(u.Basalt, before, "after the refusals")

	withSecond(u, strings.Replace(secondTunnel, "30568", "30567", 1))
	if r := u.Run(u.Basalt, "wgkeys check"); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "port 30567, OUTSIDE, is already that of wg0") {
		t.Errorf("check exits %d and says\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -t wg0")
	refusesBoth(u, `cannot use the port of tunnel "wg1": tunnel wg0 has port 30567, OUTSIDE, already`, "wg1")
	u.Must(u.Basalt, "ip link show wg0 && wgkeys apply -t wg0")
	// Of a tunnel that is up a refusal is a finding, here and from another host.
	u.Must(u.Basalt, "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
	u.Must(u.Basalt, `printf 'sysctls = { "net.ipv4.conf.wg0.rp_filter" = 2 }\n' >>tunnels/wg0.toml`)
	if r := u.Run(u.Basalt, "wgkeys status -t wg0 basalt"); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "! cannot set kernel parameters for tunnel") {
		t.Errorf("status exits %d and says\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Basalt, "wgkeys plan -t wg0 --json"); r.Code != ui.ExitFailed ||
		!strings.Contains(r.Stdout, `"refused": "cannot set`) || !strings.Contains(r.Stderr, "error: cannot set") {
		t.Errorf("plan --json exits %d and says\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "umount /proc/sys; wgkeys down -t wg0")
	u.Same(u.Basalt, before, "after down")
}

// Two tunnels of a host exchange ports, and a route moves from one to the other: what the
// refusals say to run is what does it.
func TestLabApplyExchange(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	first := strings.Replace(homeTunnel, `, "10.20.0.0/16"`, "", 1)
	second := strings.NewReplacer("30567", "30568", "10.9.", "10.10.", "fd00:9:", "fd00:10:", "198.18.0.0/24",
		"10.20.0.0/16", `"10.20.0.0/16", "fd00:20::/64"`, `"10.21.0.0/16"`).Replace(homeTunnel)
	u.Tunnel(first)
	withSecond(u, second)
	u.Must(u.Basalt, "wgkeys apply -q -t wg0 && wgkeys apply -q -t wg1")

	refuses := func(says string, hints ...string) {
		t.Helper()
		r := u.Run(u.Basalt, "wgkeys apply -t wg0")
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, says) {
			t.Errorf("apply exits %d and says\n%swant %q", r.Code, r.Stderr, says)
		}
		for _, hint := range hints {
			if !strings.Contains(r.Stderr, hint) {
				t.Errorf("apply says\n%swithout %q", r.Stderr, hint)
			}
		}
	}
	// A device in user space has its old port for some seconds more, and says so.
	until := "wgkeys apply -q -t %s 2>/run/why; do grep -q 'closes it within 15 s: run this again then' /run/why || exit 1; sleep 1; done"
	apply := func(name string) { t.Helper(); u.Must(u.Basalt, "until "+strings.Replace(until, "%s", name, 1)) }

	ports := strings.NewReplacer("30567", "30568", "30568", "30567")
	first, second = ports.Replace(first), ports.Replace(second)
	u.Tunnel(first)
	withSecond(u, second)
	refuses(`tunnel wg1 has port 30568, OUTSIDE, already`, "wgkeys apply -t wg1 first",
		"wg set wg1 listen-port 0 on the host")
	u.Must(u.Basalt, "wg set wg1 listen-port 0")
	apply("wg0")
	apply("wg1")
	if out := u.Must(u.Basalt, "wg show wg0 listen-port; wg show wg1 listen-port"); out != "30568\n30567\n" {
		t.Errorf("the ports are %q", out)
	}

	u.Tunnel(strings.Replace(first, "198.18.0.0/24", "10.21.0.0/16", 1))
	withSecond(u, strings.Replace(second, `, "10.21.0.0/16"`, "", 1))
	refuses("there is already a route through the tunnel wg1 of the same metric", "hint: wgkeys apply -t wg1 first")
	u.Must(u.Basalt, "wgkeys apply -q -t wg1 && wgkeys apply -q -t wg0 && ip route get 10.21.0.9 | grep -q 'dev wg0'")

	u.Tunnel(strings.Replace(first, "198.18.0.0/24", "10.20.0.0/16", 1))
	withSecond(u, strings.Replace(second, "10.20.0.0/16", "10.22.0.0/16", 1))
	refuses("there is already a route through the tunnel wg1", "ip -4 route del 10.20.0.0/16 dev wg1 on the host, then apply both")
	u.Must(u.Basalt, "ip -4 route del 10.20.0.0/16 dev wg1 && wgkeys apply -q -t wg0 && wgkeys apply -q -t wg1 && "+
		"ip route get 10.20.0.9 | grep -q 'dev wg0' && ip route get 10.21.0.9 | grep -q 'dev wg1'")
}

// refusesBoth: plan says what apply says, and nothing of the tunnel is there.
func refusesBoth(u *labtest.Users, says, name string) {
	u.Helper()
	for _, command := range []string{"plan", "apply"} {
		r := u.Run(u.Basalt, "wgkeys "+command+" -t "+name)
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "error: "+says) || !strings.Contains(r.Stderr, "hint: ") {
			u.Errorf("%s exits %d and says\n%swant %q", command, r.Code, r.Stderr, says)
		}
	}
	if out := u.Must(u.Basalt, "ip link show "+name+" 2>/dev/null || true"); out != "" {
		u.Errorf("the interface is there: %s", out)
	}
}

// A host whose IPv6 is switched off refuses a tunnel with both families before it
// changes anything, and takes IPv4 alone, or both, where the file says so.
func TestLabApplyIPv6SwitchedOff(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(homeTunnel)
	u.Clone()
	u.Must(u.Shale, "wgkeys apply -q")
	u.Must(u.Basalt, "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")
	before := u.Snapshot(u.Basalt)
	refusesBoth(u, `no IPv6 on this host for tunnel "wg0": net.ipv6.conf.default.disable_ipv6 is 1`, "wg0")
	u.Same(u.Basalt, before, "after the refusals")

	u.Tunnel(homeTunnel + "ipv6 = false\n")
	u.Clone()
	u.Must(u.Shale, "wgkeys apply -q")
	u.Must(u.Basalt, "wgkeys apply && ping -n -c 3 -i 0.2 -w 10 10.9.0.1")
	if out := u.Must(u.Shale, "wg show wg0 allowed-ips"); strings.Contains(out, "fd00") {
		t.Errorf("shale sends IPv6 there: %s", out)
	}
	u.Must(u.Basalt, "wgkeys down")
	u.Same(u.Basalt, before, "after down")

	u.Tunnel(homeTunnel + `sysctls = { "net.ipv6.conf.wg0.disable_ipv6" = 0 }` + "\n")
	u.Clone()
	u.Must(u.Shale, "wgkeys apply -q")
	u.Must(u.Basalt, "wgkeys apply && ping -6 -n -c 3 -i 0.2 -w 10 fd00:9::1")
	if out := u.Must(u.Basalt, "wgkeys plan"); out != "" {
		t.Errorf("the second plan is not empty:\n%s", out)
	}
	// Somebody switches it off once more, for all.
	u.Must(u.Basalt, "sysctl -q -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.disable_ipv6=1")
	u.Must(u.Basalt, "wgkeys apply && ping -6 -n -c 3 -i 0.2 -w 10 fd00:9::1 && wgkeys down")
	u.Same(u.Basalt, before, "after down")
}
