//go:build managers

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
)

// TestLabManagers tries wgkeys beside the programs that manage networks on Debian:
// the real ones, with a bus of their own, on basalt. testdata/setup/managers.sh
// fetches their packages, and each is unpacked on the host alone. Recorded in
// doc/measured/managers.md.
func TestLabManagers(t *testing.T) {
	for _, m := range []struct {
		name string
		run  func(*users)
	}{
		{"resolved", (*users).resolved},
		{"openresolv", func(u *users) { u.resolvconf("vpn.wg0") }},
		{"resolvconf", func(u *users) { u.resolvconf("tun.wg0") }},
		{"networkd", (*users).networkd},
		{"NetworkManager", (*users).networkManager},
	} {
		t.Run(m.name, func(t *testing.T) {
			u := newUsers(t)
			u.unpack(u.Basalt, m.name)
			m.run(u)
		})
	}
	t.Run("networkd-advertised", func(t *testing.T) { newUsers(t).networkdAdvertised() })
}

// unpack puts the packages of one manager on the host, whose files are a layer
// in memory. The host does not see /root, where the packages may lie.
func (u *users) unpack(h *lab.Host, name string) {
	u.t.Helper()
	folder := "../../.lab/managers/" + name
	if _, err := os.Stat(folder + "/complete"); err != nil {
		u.t.Fatalf("%v: run testdata/setup/managers.sh", err)
	}
	packages, err := filepath.Glob(folder + "/*.deb")
	if err != nil || len(packages) == 0 {
		u.t.Fatalf("%s: no packages: %v", folder, err)
	}
	for _, p := range packages {
		files := exec.Command("dpkg-deb", "--fsys-tarfile", p)
		tar := h.Command(u.t.Context(), "tar", "-x", "--keep-directory-symlink", "-C", "/")
		if tar.Stdin, err = files.StdoutPipe(); err != nil {
			u.t.Fatal(err)
		}
		if err := files.Start(); err != nil {
			u.t.Fatal(err)
		}
		out, err := tar.CombinedOutput()
		if err := errors.Join(err, files.Wait()); err != nil {
			u.t.Fatalf("%s: %v\n%s", p, err, out)
		}
	}
	u.must(h, "ldconfig")
}

// startBus starts a system bus. The kernel's devices are shown without udev:
// /sys is read-only, as in a container.
func (u *users) startBus(h *lab.Host) {
	u.t.Helper()
	u.must(h, "mkdir -p /run/dbus /run/systemd /run/udev; systemd-sysusers 2>/dev/null; dbus-daemon --system --fork --nopidfile; mount -o remount,ro /sys")
}

// start starts a program and waits for the file that tells that it is ready.
func (u *users) start(h *lab.Host, program, ready string) {
	u.t.Helper()
	u.must(h, "rm -f "+ready+"; setsid "+program+" >/run/log 2>&1 </dev/null &")
	u.eventually(func() bool { return u.run(h, "test -e "+ready).code == 0 })
	if r := u.run(h, "test -e "+ready+" || cat /run/log"); r.stdout != "" {
		u.t.Fatalf("%s does not start:\n%s", program, r.stdout)
	}
}

// becomes waits for a line of output, white space aside.
func (u *users) becomes(h *lab.Host, command, want string) {
	u.t.Helper()
	got := ""
	u.eventually(func() bool {
		got = strings.Join(strings.Fields(u.run(h, command).stdout), " ")
		return strings.Contains(got, want)
	})
	if !strings.Contains(got, want) {
		u.t.Errorf("%s never says %q, but\n%s", command, want, got)
	}
}

func withDNS(dns string) string { return demo.FirstTunnel + "dns = [" + dns + "]\n" }

func (u *users) resolved() {
	u.startBus(u.Basalt)
	u.must(u.Basalt, "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf")
	u.start(u.Basalt, "/usr/lib/systemd/systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")
	u.must(u.Basalt, "resolvectl dns eth0 192.0.2.1 && resolvectl domain eth0 uplink.example")
	const status = "resolvectl status; cat /etc/resolv.conf"
	before := u.must(u.Basalt, status)

	u.tunnel(withDNS(`"2001:db8:7767::53", "10.0.0.53", "corp.example", "~example.net"`))
	u.must(u.Basalt, "wgkeys apply")
	u.planIs("after apply")
	u.becomes(u.Basalt, "resolvectl dns wg0", "(wg0): 2001:db8:7767::53 10.0.0.53")
	u.becomes(u.Basalt, "resolvectl domain wg0", "(wg0): corp.example ~example.net")
	u.becomes(u.Basalt, "cat /etc/resolv.conf", "corp.example")

	u.tunnel(withDNS(`"10.0.0.54"`))
	u.planIs("other resolvers", "resolvectl dns wg0 10.0.0.54; resolvectl domain wg0 ''")
	u.must(u.Basalt, "wgkeys apply")
	if got := strings.TrimSpace(u.must(u.Basalt, "resolvectl domain wg0")); !strings.HasSuffix(got, "(wg0):") {
		u.t.Errorf("domains are left: %s", got)
	}
	u.becomes(u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")

	u.must(u.Basalt, "resolvectl revert wg0")
	u.planIs("somebody else took them away", "resolvectl dns wg0 10.0.0.54")
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")
	u.must(u.Basalt, "pkill -x systemd-resolve")
	u.start(u.Basalt, "/usr/lib/systemd/systemd-resolved", "/run/systemd/resolve/io.systemd.Resolve")
	u.becomes(u.Basalt, "resolvectl dns wg0", "(wg0): 10.0.0.54")
	u.planIs("after it was started again")

	u.tunnel(demo.FirstTunnel)
	u.must(u.Basalt, "wgkeys apply")
	if got := strings.TrimSpace(u.must(u.Basalt, "resolvectl dns wg0")); !strings.HasSuffix(got, "(wg0):") {
		u.t.Errorf("dns was taken out, and left: %s", got)
	}
	u.tunnel(withDNS(`"10.0.0.54", "~."`))
	u.must(u.Basalt, "wgkeys apply && wgkeys down")
	if diff := demo.LineDiff(before, u.must(u.Basalt, status)); diff != "" {
		u.t.Errorf("after down:\n%s", diff)
	}
}

// resolvconf tries openresolv, and Debian's program of the same name, which
// knows the link as record.
func (u *users) resolvconf(record string) {
	u.must(u.Basalt, `if test -d /etc/resolvconf; then
		mkdir -p /run/resolvconf/interface && resolvconf --enable-updates && ln -sf /run/resolvconf/resolv.conf /etc/resolv.conf
	fi
	printf 'nameserver 192.0.2.53\nsearch uplink.example\n' | resolvconf -a eth0.dhcp`)
	const status = "cat /etc/resolv.conf; find /run/resolvconf -type f -name '*[0-9]*'"
	before := u.must(u.Basalt, status)
	u.tunnel(withDNS(`"2001:db8:7767::53", "10.0.0.53", "corp.example", "lab.example", "~example.net"`))
	r := u.run(u.Basalt, "wgkeys apply")
	step := `printf 'nameserver 2001:db8:7767::53\nnameserver 10.0.0.53\nsearch corp.example lab.example\n' | resolvconf -a ` + record
	if r.code != 0 || !strings.Contains(r.stdout, step) || !strings.Contains(r.stderr, "not for example.net alone") {
		u.t.Errorf("apply exits %d, without the step %s\n%s%s", r.code, step, r.stdout, r.stderr)
	}
	u.planIs("after apply")
	u.becomes(u.Basalt, "grep -v '^#' /etc/resolv.conf", "nameserver 2001:db8:7767::53 nameserver 10.0.0.53 nameserver 192.0.2.53")
	u.becomes(u.Basalt, "grep ^search /etc/resolv.conf", "search corp.example lab.example uplink.example")

	u.tunnel(withDNS(`"10.0.0.54"`))
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "grep ^nameserver /etc/resolv.conf", "nameserver 10.0.0.54 nameserver 192.0.2.53")
	u.must(u.Basalt, "resolvconf -d "+record)
	u.planIs("somebody else took them away", "| resolvconf -a "+record)
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "grep ^nameserver /etc/resolv.conf", "nameserver 10.0.0.54")
	u.must(u.Basalt, "wgkeys down")
	if diff := demo.LineDiff(before, u.must(u.Basalt, status)); diff != "" {
		u.t.Errorf("after down:\n%s", diff)
	}
	// The interface goes by itself, or the record does: down is no less whole.
	for _, gone := range []string{"ip link del wg0", "resolvconf -d " + record} {
		u.must(u.Basalt, "wgkeys apply && "+gone+" && wgkeys down")
		if diff := demo.LineDiff(before, u.must(u.Basalt, status)); diff != "" {
			u.t.Errorf("after %s and down:\n%s", gone, diff)
		}
	}
}

// networkd manages every interface, with no more than eth0's address kept: that
// is the setting in which it takes away what it does not know.
func (u *users) networkd() {
	u.startBus(u.Basalt)
	for file, network := range map[string]string{
		"10-eth0": "[Match]\nName=eth0\n[Network]\nKeepConfiguration=static\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nGateway=192.0.2.1\n",
		"50-all":  "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
	} {
		u.write(u.Basalt, "/etc/systemd/network/"+file+".network", network)
	}
	start := func() { u.start(u.Basalt, "/usr/lib/systemd/systemd-networkd", "/run/systemd/netif/state") }
	u.must(u.Basalt, "ip route del default; mkdir -p /run/systemd/netif && chown systemd-network:systemd-network /run/systemd/netif")
	start()
	u.becomes(u.Basalt, "networkctl list eth0", "configured")
	u.becomes(u.Basalt, "ip route", "default via 192.0.2.1")
	before := u.snapshot(u.Basalt)

	u.tunnel(defaultRouteTunnel)
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "networkctl list wg0", "unmanaged")
	want := u.snapshot(u.Basalt)
	for _, trial := range []string{"networkctl reload", "networkctl reconfigure eth0", "ip link set wg0 down; ip link set wg0 up; wgkeys apply"} {
		u.must(u.Basalt, "ip rule add from 192.0.2.99 table 99 priority 600; "+trial)
		if strings.Contains(trial, "reconfigure") {
			u.eventually(func() bool { return u.run(u.Basalt, "ip rule | grep -q ^600:").code != 0 })
			if out := u.run(u.Basalt, "ip rule | grep ^600:").stdout; out != "" {
				u.t.Errorf("%s left another's rule alone, so that nothing is proved: %s", trial, out)
			}
		}
		time.Sleep(time.Second)
		u.run(u.Basalt, "ip rule del priority 600")
		u.becomes(u.Basalt, "networkctl list wg0", "unmanaged")
		u.planIs(trial)
		u.same(u.Basalt, want, trial)
	}
	u.must(u.Basalt, "pkill -x systemd-network")
	start()
	u.becomes(u.Basalt, "networkctl list wg0", "unmanaged")
	time.Sleep(time.Second)
	u.planIs("after it was started again")

	// Without our file it takes the interface for its own, and apply repairs.
	u.must(u.Basalt, "rm /run/systemd/network/05-wgkeys-wg0.network && networkctl reload && networkctl reconfigure wg0")
	u.becomes(u.Basalt, "networkctl list wg0", "configured")
	u.becomes(u.Basalt, "wgkeys plan", "ip -4 address add 10.7.0.2/24 dev wg0")
	u.planIs("without our file", "ip -4 route add 0.0.0.0/0 dev wg0", "05-wgkeys-wg0.network")
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "networkctl list wg0", "unmanaged")
	u.planIs("with our file again")
	u.must(u.Basalt, "wgkeys down && ! ls /run/systemd/network/*wgkeys*")
	u.same(u.Basalt, before, "after down")
}

// networkdAdvertised: on a router whose uplink networkd listens on, the default
// route that networkd learned stays through apply and down, and is learned again
// while the host forwards.
func (u *users) networkdAdvertised() {
	u.unpack(u.Shale, "networkd")
	u.startBus(u.Shale)
	u.write(u.Shale, "/etc/systemd/network/10-eth0.network",
		"[Match]\nName=eth0\n[Network]\nKeepConfiguration=static\nGateway=93.93.130.1\nIPv6AcceptRA=yes\n")
	// The kernel has learned it already, and networkd is to.
	u.must(u.Shale, "sysctl -qw net.ipv6.conf.eth0.accept_ra=0; ip -6 route del default; ip route del default; mkdir -p /run/systemd/netif && chown systemd-network:systemd-network /run/systemd/netif")
	u.start(u.Shale, "/usr/lib/systemd/systemd-networkd", "/run/systemd/netif/state")
	u.becomes(u.Shale, "ip -6 route show default", "proto ra")
	u.becomes(u.Shale, "networkctl list eth0", "configured")
	if u.losesDefault("wgkeys apply 2>/run/said") {
		u.t.Error("apply loses the default route that networkd learned")
	}
	if said := u.read(u.Shale, "/run/said"); !u.forces() && !strings.Contains(said, "another program handles (accept_ra=0), which is left alone; if that is systemd-networkd") {
		u.t.Errorf("apply says\n%s", said)
	}
	u.must(u.Shale, "ip -6 route del default; networkctl reconfigure eth0")
	u.becomes(u.Shale, "ip -6 route show default", "proto ra")
	if u.losesDefault("wgkeys down") {
		u.t.Error("down loses the default route that networkd learned")
	}
}

// networkManager has a list of unmanaged devices of its own, which is read after
// ours.
func (u *users) networkManager() {
	u.startBus(u.Basalt)
	u.write(u.Basalt, "/etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\nauth-polkit=false\ndns=none\n[keyfile]\nunmanaged-devices=interface-name:foo*\n")
	u.start(u.Basalt, "NetworkManager -n", "/run/NetworkManager/devices")
	u.becomes(u.Basalt, "nmcli -t -f DEVICE,STATE device", "eth0:connected")
	u.tunnel(defaultRouteTunnel)
	before := u.snapshot(u.Basalt)
	u.must(u.Basalt, "wgkeys apply")
	u.becomes(u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:unmanaged")
	want := u.snapshot(u.Basalt)
	for _, trial := range []string{"nmcli general reload", "nmcli device connect wg0 || true", "nmcli device disconnect wg0 || true"} {
		u.must(u.Basalt, trial)
		time.Sleep(time.Second)
		u.planIs(trial)
		u.same(u.Basalt, want, trial)
	}
	u.must(u.Basalt, "pkill -x NetworkManager")
	u.start(u.Basalt, "NetworkManager -n", "/run/NetworkManager/devices")
	u.becomes(u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:unmanaged")
	u.planIs("after it was started again")
	u.must(u.Basalt, "wgkeys down && ! ls /run/NetworkManager/conf.d/*wgkeys*")
	u.same(u.Basalt, before, "after down")
	// Undone, the name is nothing special any more.
	u.must(u.Basalt, "ip tuntap add dev wg0 mode tun && ip link set wg0 up && ip address add 192.0.2.200/32 dev wg0")
	u.becomes(u.Basalt, "nmcli -t -f DEVICE,STATE device", "wg0:connected (externally)")
	u.must(u.Basalt, "ip link del wg0")
}
