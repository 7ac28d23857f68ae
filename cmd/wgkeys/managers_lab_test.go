//go:build managers

package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// TestLabManagers tries wgkeys beside the programs that manage networks on Debian:
// the real ones, with a bus of their own, on basalt. testdata/setup/managers.sh
// fetches their packages, and each is unpacked on the host alone. Recorded in
// doc/measured/managers.md.
func TestLabManagers(t *testing.T) {
	for _, m := range []struct {
		name string
		run  func(*labtest.Users)
	}{
		{"resolved", besideResolved},
		{"openresolv", func(u *labtest.Users) { besideResolvconf(u, "vpn.wg0") }},
		{"resolvconf", func(u *labtest.Users) { besideResolvconf(u, "tun.wg0") }},
		{"networkd", besideNetworkd},
		{"NetworkManager", besideNetworkManager},
	} {
		t.Run(m.name, func(t *testing.T) {
			u := labtest.NewUsers(t)
			unpackOn(u, u.Basalt, m.name)
			m.run(u)
		})
	}
	t.Run("networkd-advertised", func(t *testing.T) { networkdAdvertised(labtest.NewUsers(t)) })
}

// startProgram starts a program and waits for the file that tells that it is ready.
func startProgram(u *labtest.Users, h *lab.Host, program, ready string) {
	u.Helper()
	u.Must(h, "rm -f "+ready+"; setsid "+program+" >/run/log 2>&1 </dev/null &")
	u.Eventually(func() bool { return u.Run(h, "test -e "+ready).Code == 0 })
	if r := u.Run(h, "test -e "+ready+" || cat /run/log"); r.Stdout != "" {
		u.Fatalf("%s does not start:\n%s", program, r.Stdout)
	}
}

// outputBecomes waits for a line of output, white space aside.
func outputBecomes(u *labtest.Users, h *lab.Host, command, want string) {
	u.Helper()
	got := ""
	u.Eventually(func() bool {
		got = strings.Join(strings.Fields(u.Run(h, command).Stdout), " ")
		return strings.Contains(got, want)
	})
	if !strings.Contains(got, want) {
		u.Errorf("%s never says %q, but\n%s", command, want, got)
	}
}

func withDNS(dns string) string { return demo.FirstTunnel + "dns = [" + dns + "]\n" }

func besideResolved(u *labtest.Users) {
	startBus(u, u.Basalt)
	u.Must(u.Basalt, "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf")
	startProgram(u, u.Basalt, "/usr/lib/systemd/systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")
	u.Must(u.Basalt, "resolvectl dns eth0 192.0.2.1 && resolvectl domain eth0 uplink.example")
	const status = "resolvectl status; cat /etc/resolv.conf"
	before := u.Must(u.Basalt, status)

	u.Tunnel(withDNS(`"2001:db8:7767::53", "10.0.0.53", "corp.example", "~example.net"`))
	u.Must(u.Basalt, "wgkeys apply")
	u.PlanIs("after apply")
	outputBecomes(u, u.Basalt, "resolvectl dns wg0", "(wg0): 2001:db8:7767::53 10.0.0.53")
	outputBecomes(u, u.Basalt, "resolvectl domain wg0", "(wg0): corp.example ~example.net")
	outputBecomes(u, u.Basalt, "cat /etc/resolv.conf", "corp.example")

	u.Tunnel(withDNS(`"10.0.0.54"`))
	u.PlanIs("other resolvers", "resolvectl dns wg0 10.0.0.54; resolvectl domain wg0 ''")
	u.Must(u.Basalt, "wgkeys apply")
	if got := strings.TrimSpace(u.Must(u.Basalt, "resolvectl domain wg0")); !strings.HasSuffix(got, "(wg0):") {
		u.Errorf("domains are left: %s", got)
	}
	outputBecomes(u, u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")

	u.Must(u.Basalt, "resolvectl revert wg0")
	u.PlanIs("somebody else took them away", "resolvectl dns wg0 10.0.0.54")
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")
	u.Must(u.Basalt, "pkill -x systemd-resolve")
	startProgram(u, u.Basalt, "/usr/lib/systemd/systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")
	outputBecomes(u, u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")
	u.PlanIs("after it was started again")

	u.Tunnel(demo.FirstTunnel)
	u.Must(u.Basalt, "wgkeys apply")
	if got := strings.TrimSpace(u.Must(u.Basalt, "resolvectl dns wg0")); !strings.HasSuffix(got, "(wg0):") {
		u.Errorf("dns was taken out, and left: %s", got)
	}
	u.Tunnel(withDNS(`"10.0.0.54", "~."`))
	u.Must(u.Basalt, "wgkeys apply && wgkeys down")
	if diff := demo.LineDiff(before, u.Must(u.Basalt, status)); diff != "" {
		u.Errorf("after down:\n%s", diff)
	}
}

// besideResolvconf tries openresolv, and Debian's program of the same name, which
// knows the link as record.
func besideResolvconf(u *labtest.Users, record string) {
	u.Must(u.Basalt, `if test -d /etc/resolvconf; then
		mkdir -p /run/resolvconf/interface && resolvconf --enable-updates && ln -sf /run/resolvconf/resolv.conf /etc/resolv.conf
	fi
	printf 'nameserver 192.0.2.53\nsearch uplink.example\n' | resolvconf -a eth0.dhcp`)
	const status = "cat /etc/resolv.conf; find /run/resolvconf -type f -name '*[0-9]*'"
	before := u.Must(u.Basalt, status)
	u.Tunnel(withDNS(`"2001:db8:7767::53", "10.0.0.53", "corp.example", "lab.example", "~example.net"`))
	r := u.Run(u.Basalt, "wgkeys apply")
	step := `printf 'nameserver 2001:db8:7767::53\nnameserver 10.0.0.53\nsearch corp.example lab.example\n' | resolvconf -a ` + record
	if r.Code != 0 || !strings.Contains(r.Stdout, step) || !strings.Contains(r.Stderr, "not for example.net alone") {
		u.Errorf("apply exits %d, without the step %s\n%s%s", r.Code, step, r.Stdout, r.Stderr)
	}
	u.PlanIs("after apply")
	outputBecomes(u, u.Basalt, "grep -v '^#' /etc/resolv.conf",
		"nameserver 2001:db8:7767::53 nameserver 10.0.0.53 nameserver 192.0.2.53")
	outputBecomes(u, u.Basalt, "grep ^search /etc/resolv.conf", "search corp.example lab.example uplink.example")

	u.Tunnel(withDNS(`"10.0.0.54"`))
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "grep ^nameserver /etc/resolv.conf", "nameserver 10.0.0.54 nameserver 192.0.2.53")
	u.Must(u.Basalt, "resolvconf -d "+record)
	u.PlanIs("somebody else took them away", "| resolvconf -a "+record)
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "grep ^nameserver /etc/resolv.conf", "nameserver 10.0.0.54")
	u.Must(u.Basalt, "wgkeys down")
	if diff := demo.LineDiff(before, u.Must(u.Basalt, status)); diff != "" {
		u.Errorf("after down:\n%s", diff)
	}
	// The interface goes by itself, or the record does: down is no less whole.
	for _, gone := range []string{"ip link del wg0", "resolvconf -d " + record} {
		u.Must(u.Basalt, "wgkeys apply && "+gone+" && wgkeys down")
		if diff := demo.LineDiff(before, u.Must(u.Basalt, status)); diff != "" {
			u.Errorf("after %s and down:\n%s", gone, diff)
		}
	}
}

// besideNetworkd manages every interface, with no more than eth0's address kept: that
// is the setting in which it takes away what it does not know.
func besideNetworkd(u *labtest.Users) {
	startBus(u, u.Basalt)
	for file, network := range map[string]string{
		"10-eth0": "[Match]\nName=eth0\n[Network]\nKeepConfiguration=static\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nGateway=192.0.2.1\n",
		"50-all":  "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
	} {
		u.Write(u.Basalt, "/etc/systemd/network/"+file+".network", network)
	}
	start := func() { startProgram(u, u.Basalt, "/usr/lib/systemd/systemd-networkd", "/run/systemd/netif/state") }
	u.Must(u.Basalt, "ip route del default; mkdir -p /run/systemd/netif && chown systemd-network:systemd-network /run/systemd/netif")
	start()
	outputBecomes(u, u.Basalt, "networkctl list eth0", "configured")
	outputBecomes(u, u.Basalt, "ip route", "default via 192.0.2.1")
	before := u.Snapshot(u.Basalt)

	u.Tunnel(defaultRouteTunnel)
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "networkctl list wg0", "unmanaged")
	want := u.Snapshot(u.Basalt)
	for _, trial := range []string{"networkctl reload", "networkctl reconfigure eth0",
		"ip link set wg0 down; ip link set wg0 up; wgkeys apply"} {
		u.Must(u.Basalt, "ip rule add from 192.0.2.99 table 99 priority 600; "+trial)
		if strings.Contains(trial, "reconfigure") {
			u.Eventually(func() bool { return u.Run(u.Basalt, "ip rule | grep -q ^600:").Code != 0 })
			if out := u.Run(u.Basalt, "ip rule | grep ^600:").Stdout; out != "" {
				u.Errorf("%s left another's rule alone, so that nothing is proved: %s", trial, out)
			}
		}
		time.Sleep(time.Second)
		u.Run(u.Basalt, "ip rule del priority 600")
		outputBecomes(u, u.Basalt, "networkctl list wg0", "unmanaged")
		u.PlanIs(trial)
		u.Same(u.Basalt, want, trial)
	}
	u.Must(u.Basalt, "pkill -x systemd-network")
	start()
	outputBecomes(u, u.Basalt, "networkctl list wg0", "unmanaged")
	time.Sleep(time.Second)
	u.PlanIs("after it was started again")

	// Without our file it takes the interface for its own, and apply repairs.
	u.Must(u.Basalt, "rm /run/systemd/network/05-wgkeys-wg0.network && networkctl reload && networkctl reconfigure wg0")
	outputBecomes(u, u.Basalt, "networkctl list wg0", "configured")
	outputBecomes(u, u.Basalt, "wgkeys plan", "ip -4 address add 10.7.0.2/24 dev wg0")
	u.PlanIs("without our file", "ip -4 route add 0.0.0.0/0 dev wg0", "05-wgkeys-wg0.network")
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "networkctl list wg0", "unmanaged")
	u.PlanIs("with our file again")
	u.Must(u.Basalt, "wgkeys down && ! ls /run/systemd/network/*wgkeys*")
	u.Same(u.Basalt, before, "after down")
}

// networkdAdvertised: on a router whose uplink networkd listens on, the default
// route that networkd learned stays through apply and down, and is learned again
// while the host forwards.
func networkdAdvertised(u *labtest.Users) {
	unpackOn(u, u.Shale, "networkd")
	startBus(u, u.Shale)
	u.Write(u.Shale, "/etc/systemd/network/10-eth0.network",
		"[Match]\nName=eth0\n[Network]\nKeepConfiguration=static\nGateway=93.93.130.1\nIPv6AcceptRA=yes\n")
	// The kernel has learned it already, and networkd is to.
	u.Must(u.Shale, "sysctl -qw net.ipv6.conf.eth0.accept_ra=0; ip -6 route del default; ip route del default; mkdir -p /run/systemd/netif && chown systemd-network:systemd-network /run/systemd/netif")
	startProgram(u, u.Shale, "/usr/lib/systemd/systemd-networkd", "/run/systemd/netif/state")
	outputBecomes(u, u.Shale, "ip -6 route show default", "proto ra")
	outputBecomes(u, u.Shale, "networkctl list eth0", "configured")
	if losesDefault(u, "wgkeys apply 2>/run/said") {
		u.Error("apply loses the default route that networkd learned")
	}
	if said := u.Read(u.Shale, "/run/said"); !forcesForwarding(u) &&
		!strings.Contains(said, "another program handles (accept_ra=0), which is left alone; if that is systemd-networkd") {
		u.Errorf("apply says\n%s", said)
	}
	u.Must(u.Shale, "ip -6 route del default; networkctl reconfigure eth0")
	outputBecomes(u, u.Shale, "ip -6 route show default", "proto ra")
	if losesDefault(u, "wgkeys down") {
		u.Error("down loses the default route that networkd learned")
	}
}

// besideNetworkManager has a list of unmanaged devices of its own, which is read after
// ours.
func besideNetworkManager(u *labtest.Users) {
	startBus(u, u.Basalt)
	u.Write(u.Basalt, "/etc/NetworkManager/NetworkManager.conf",
		"[main]\nplugins=keyfile\nauth-polkit=false\ndns=none\n[keyfile]\nunmanaged-devices=interface-name:foo*\n")
	startProgram(u, u.Basalt, "NetworkManager -n", "/run/NetworkManager/devices")
	outputBecomes(u, u.Basalt, "nmcli -t -f DEVICE,STATE device", "eth0:connected")
	u.Tunnel(defaultRouteTunnel)
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply")
	outputBecomes(u, u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:unmanaged")
	want := u.Snapshot(u.Basalt)
	for _, trial := range []string{"nmcli general reload", "nmcli device connect wg0 || true",
		"nmcli device disconnect wg0 || true"} {
		u.Must(u.Basalt, trial)
		time.Sleep(time.Second)
		u.PlanIs(trial)
		u.Same(u.Basalt, want, trial)
	}
	u.Must(u.Basalt, "pkill -x NetworkManager")
	startProgram(u, u.Basalt, "NetworkManager -n", "/run/NetworkManager/devices")
	outputBecomes(u, u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:unmanaged")
	u.PlanIs("after it was started again")
	u.Must(u.Basalt, "wgkeys down && ! ls /run/NetworkManager/conf.d/*wgkeys*")
	u.Same(u.Basalt, before, "after down")
	// Undone, the name is nothing special any more.
	u.Must(u.Basalt, "ip tuntap add dev wg0 mode tun && ip link set wg0 up && ip address add 192.0.2.200/32 dev wg0")
	outputBecomes(u, u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:connected (externally)")
	u.Must(u.Basalt, "ip link del wg0")
}
