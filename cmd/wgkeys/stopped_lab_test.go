package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// TestLabStoppedDevice: a device in user space whose process is stopped. No verb waits for
// it for ever, each names it, and what it says helps.
func TestLabStoppedDevice(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet")
	if link := u.Must(u.Basalt, "ip -d link show wg0"); !strings.Contains(link, "tun ") {
		return // the kernel's own device stands still with the kernel alone
	}
	signal := func(name string) {
		u.Must(u.Basalt, fmt.Sprintf("pgrep -f '^wgkeys-device wg0' | while read p; do "+
			"[ $(readlink /proc/$p/ns/net) = $(readlink /proc/self/ns/net) ] && kill -%s $p; done; true", name))
	}
	const silent, hint = "does not answer: it is stopped, or hangs", "kill -CONT lets one that is stopped go on"
	const remains = "the process of its device is still there"
	key := u.Read(u.Basalt, "/root/net/keyring/basalt/wg0.pub")
	signal("STOP")
	for _, c := range []struct {
		verb  string
		code  int
		wants []string
	}{
		{"status", ui.ExitSome, []string{`by host "basalt"`, silent, hint}},
		{"plan", ui.ExitFailed, []string{`tunnel "wg0"`, silent, hint}},
		{"apply", ui.ExitFailed, []string{`tunnel "wg0"`, silent, hint}},
		{"rotate -y basalt", ui.ExitFailed, []string{`by host "basalt"`, silent, hint}},
		{"rotate -y shale", ui.ExitFailed, []string{`peer "basalt"`, silent, hint, "wgkeys rotate shale --skip basalt"}},
		{"down", ui.ExitFailed, []string{`tunnel "wg0"`, remains, "kill -9 ends any"}},
		{"apply", ui.ExitFailed, []string{`tunnel "wg0"`, remains, "kill -9 ends any"}},
		{"down", ui.ExitDone, []string{"nothing to do"}},
	} {
		r := u.Run(u.Basalt, "timeout -s KILL 120 wgkeys "+c.verb)
		if r.Code != c.code {
			t.Errorf("%s exits %d", c.verb, r.Code)
		}
		for _, want := range c.wants {
			if !strings.Contains(r.Stderr, want) {
				t.Errorf("%s does not say %q:\n%s%s", c.verb, want, r.Stdout, r.Stderr)
			}
		}
	}
	if now := u.Read(u.Basalt, "/root/net/keyring/basalt/wg0.pub"); now != key {
		t.Errorf("the key was replaced: %s", now)
	}
	signal("CONT")
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys apply --quiet && wgkeys plan && wgkeys rotate -y basalt")
	// A stolen key: whoever is stopped is named, and the same command goes on later.
	for verb, who := range map[string]string{"rotate -y --now shale": `peer "basalt"`,
		"rotate -y --now basalt": `host "basalt"`} {
		signal("STOP")
		r := u.Run(u.Basalt, "timeout -s KILL 120 wgkeys "+verb)
		for _, want := range []string{who, silent, hint} {
			if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
				t.Errorf("%s exits %d, want %q:\n%s%s", verb, r.Code, want, r.Stdout, r.Stderr)
			}
		}
		signal("CONT")
		u.Until("both to have one key of each", func() bool {
			u.Run(u.Basalt, "wgkeys rotate -y --now shale; wgkeys push -q shale basalt; wgkeys apply -q; wgkeys apply -q shale")
			return u.Run(u.Basalt, "wgkeys status").Code == ui.ExitDone
		})
	}
	signal("STOP")
	u.Run(u.Basalt, "wgkeys down")
	signal("KILL")
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys apply --quiet && wgkeys plan && wgkeys rotate -y basalt")
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}

// After a device was killed down leaves nothing of it either.
func TestLabDownOfKilledDevice(t *testing.T) {
	if lab.Kernel() == "vm" {
		t.Log("its WireGuard has no process")
		return
	}
	u := labtest.NewUsers(t)
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply && test -S /var/run/wireguard/wg0.sock")
	u.Must(u.Basalt, killDevice+"; wgkeys down && ! test -e /var/run/wireguard/wg0.sock")
	u.Same(u.Basalt, before, "after the device was killed and the tunnel taken down")
}

// TestLabStoppedOther: a tunnel whose encrypted packets go into another one, or whose port
// another one has, is planned also while the other's device is stopped.
func TestLabStoppedOther(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	inner := "[hosts.basalt]\naddresses = [\"10.1.0.1/24\"]\n[hosts.there]\nendpoint = \"10.99.0.7:30567\"\n" +
		"addresses = [\"10.1.0.2/24\"]\n"
	u.Write(u.Basalt, "/root/net/tunnels/in0.toml", inner)
	u.Write(u.Basalt, "/root/net/tunnels/out0.toml", "[hosts.basalt]\nlisten_port = 5555\naddresses = [\"10.99.0.1/24\"]\n"+
		"[hosts.other]\nendpoint = \"93.93.130.7:30568\"\nroutes = [\"10.99.0.0/24\"]\n")
	u.Must(u.Basalt, "wgkeys gen -q -t in0 basalt there && wgkeys gen -q -t out0 basalt other && wgkeys push -q basalt && "+
		"wgkeys apply -q -t out0 && wgkeys apply -q -t in0")
	if link := u.Must(u.Basalt, "ip -d link show out0"); !strings.Contains(link, "tun ") {
		return // the kernel's own device stands still with the kernel alone
	}
	const device = "pgrep -f '^wgkeys-device out0' | while read p; do " +
		"[ $(readlink /proc/$p/ns/net) = $(readlink /proc/self/ns/net) ] && kill -%s $p; done; true"
	u.Must(u.Basalt, fmt.Sprintf(device, "STOP"))
	u.Must(u.Basalt, "timeout -s KILL 60 wgkeys plan -t in0")
	u.Write(u.Basalt, "/root/net/tunnels/in0.toml", strings.Replace(inner, "\n", "\nlisten_port = 5555\n", 1))
	r := u.Run(u.Basalt, "timeout -s KILL 60 wgkeys plan -t in0")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "tunnel out0 has port 5555, OUTSIDE, already") {
		t.Errorf("a port that it has: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, fmt.Sprintf(device, "CONT"))
	u.Must(u.Basalt, "wgkeys down -q -t in0 && wgkeys down -q -t out0")
}
