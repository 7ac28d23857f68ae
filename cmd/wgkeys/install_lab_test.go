package main

import (
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// withoutWgkeys takes the program from shale: it has sshd and sh.
const withoutWgkeys = "mkdir -p /run/away; mv /usr/local/bin/wgkeys /run/away/"

// TestLabInstall: a host that has only sshd and sh gets the program, once.
func TestLabInstall(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Shale, withoutWgkeys)

	r := u.Run(u.Basalt, "wgkeys install -n shale")
	if r.Code != ui.ExitFindings || r.Stdout != "/usr/local/bin/wgkeys to be installed\n" {
		t.Errorf("a dry run exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Shale, "ls -A /usr/local/bin"); r.Stdout != "" {
		t.Errorf("a dry run leaves %s", r.Stdout)
	}
	version := strings.TrimSpace(u.Must(u.Basalt, "wgkeys --version"))
	r = u.Run(u.Basalt, "wgkeys install shale")
	if want := "/usr/local/bin/wgkeys installed: " + version + "\n"; r.Code != ui.ExitDone || r.Stdout != want {
		t.Errorf("install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	installedOnShale(u)
	r = u.Run(u.Basalt, "wgkeys install shale")
	if want := "/usr/local/bin/wgkeys unchanged\n"; r.Code != ui.ExitDone || r.Stdout != want {
		t.Errorf("the second install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys down -q shale")
}

// TestLabInstallNotOurs: what has the program's name and is not wgkeys stays, from afar and
// on the host itself, unless -y is given.
func TestLabInstallNotOurs(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply -q shale")
	for _, of := range []struct {
		host          *lab.Host
		program, name string
		what, hint    string
	}{
		{u.Basalt, "wgkeys", " shale", "is not wgkeys: its --version says \"my wgkeys\"", "wgkeys install -y shale"},
		{u.Shale, "/run/away/wgkeys", "", `cannot replace "/usr/local/bin/wgkeys": it is not built by Go`,
			"sudo /run/away/wgkeys install -y"},
	} {
		u.Must(u.Shale, withoutWgkeys+`; printf '#!/bin/sh\necho my wgkeys\n' >/usr/local/bin/wgkeys
			chmod 755 /usr/local/bin/wgkeys`)
		for _, dry := range []string{" -n", ""} {
			r := u.Run(of.host, of.program+" install"+dry+of.name)
			if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, of.what) ||
				!strings.Contains(r.Stderr, "wgkeys: hint: "+of.hint+"\n") {
				t.Errorf("install%s exits %d: %s%s", dry, r.Code, r.Stdout, r.Stderr)
			}
			if is := u.Must(u.Shale, "/usr/local/bin/wgkeys"); is != "my wgkeys\n" {
				t.Errorf("shale has %s", is)
			}
		}
		u.Must(of.host, of.program+" install -q -y"+of.name)
		u.Must(u.Shale, "cmp /run/away/wgkeys /usr/local/bin/wgkeys")
	}
	u.Must(u.Basalt, "wgkeys down -q shale")
}

// TestLabInstallPackage: what a package has brought to a host is left to its package
// manager; install sees to the next boot, and uninstall to what is not the package's.
func TestLabInstallPackage(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Shale, `mv /usr/local/bin/wgkeys /usr/bin/wgkeys && mkdir -p /etc/network/if-up.d /usr/sbin`)
	version := strings.TrimSpace(u.Must(u.Shale, "wgkeys --version"))
	before := u.Must(u.Shale, "sha256sum /usr/bin/wgkeys")

	r := u.Run(u.Basalt, "wgkeys install --up --ifupdown shale")
	want := "/usr/bin/wgkeys unchanged: a package's, upgraded by its package manager: " + version + "\n"
	if r.Code != ui.ExitDone || !strings.HasPrefix(r.Stdout, want) {
		t.Errorf("install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Shale, "grep -q '/usr/bin/wgkeys apply' /etc/network/if-up.d/wgkeys")
	u.Must(u.Shale, "! grep -q /usr/local /etc/network/if-up.d/wgkeys")
	u.Must(u.Shale, "! test -e /usr/local/bin/wgkeys")

	r = u.Run(u.Shale, "wgkeys install --ifupdown")
	if r.Code != ui.ExitDone || !strings.Contains(r.Stderr, "nothing to do") {
		t.Errorf("install on the host exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	r = u.Run(u.Shale, "wgkeys uninstall -y")
	if r.Code != ui.ExitDone || !strings.Contains(r.Stderr, "/usr/bin/wgkeys stays, which a package has brought") {
		t.Errorf("uninstall exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Shale, "! test -e /etc/network/if-up.d/wgkeys && ! ls -A /etc/wgkeys | grep . && ! ip link show wg0")
	if after := u.Must(u.Shale, "sha256sum /usr/bin/wgkeys"); after != before {
		t.Errorf("the package's program is\n%sand was\n%s", after, before)
	}
}

// installedOnShale fails where shale has not the program of basalt, whole and alone.
func installedOnShale(u *labtest.Users) {
	u.Helper()
	const script = "cd /usr/local/bin && ls -A && stat -c '%a %U %G' wgkeys && sha256sum <wgkeys"
	if want, got := u.Must(u.Basalt, script), u.Must(u.Shale, script); got != want {
		u.Errorf("shale has\n%sand basalt\n%s", got, want)
	}
}

// listing is all files of a host that installing could touch, with their modes, owners and
// content, and what runs there.
func listing(u *labtest.Users, h *lab.Host) string {
	u.Helper()
	return u.Must(h, `find /etc /usr/local /var/lib /root /run -xdev ! -path '/root/net/*' ! -path '/run/sshd*' \
			-printf '%M %u %g %p %l\n' | sort
		find /etc /usr/local /var/lib -xdev -type f ! -name '*.log' -exec sha256sum {} + | sort -k 2
		for p in /proc/[0-9]*; do tr '\0' ' ' <"$p/cmdline" 2>/dev/null; echo; done | grep '[w]gkeys-' || true`)
}

// TestLabInstallUp: from nothing to the first ping over two hosts it is five commands, the
// tunnel file aside, and one more to hosts as they were before.
func TestLabInstallUp(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Shale, withoutWgkeys+"; rm /etc/wireguard/* /usr/bin/wg; rm -r /root/net")
	u.Must(u.Basalt, "rm -r /etc/wireguard/* /root/net /root/.config")
	network, files := u.Snapshot(u.Shale), listing(u, u.Shale)

	u.Must(u.Basalt, "wgkeys init net")
	u.Tunnel(demo.FirstTunnel)
	for _, command := range []string{
		"wgkeys gen basalt shale",
		"wgkeys install --up shale basalt",
		"ping -6 -n -c 1 -w 10 " + demo.Internet,
	} {
		u.Must(u.Basalt, command)
	}
	if names := u.Must(u.Shale, "ls /etc/wgkeys /etc/wireguard"); !strings.Contains(names, "wg0.view") ||
		!strings.Contains(names, "wg0.key") {
		t.Errorf("shale has %s", names)
	}
	// A view that names another file as its key does not have that removed.
	u.Must(u.Shale, `sed 's#/etc/wireguard/wg0.key#/etc/shadow#; s#"tunnel": "wg0"#"tunnel": "wg9"#' /etc/wgkeys/wg0.view >/etc/wgkeys/wg9.view
		grep -q '"/etc/shadow"' /etc/wgkeys/wg9.view`)
	r := u.Run(u.Basalt, "wgkeys uninstall --keys -n shale")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, "wgkeys down -t wg0\n") ||
		!strings.Contains(r.Stdout, "rm -r /etc/wireguard/wg0.key\n") {
		t.Errorf("a dry run exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "ping -6 -n -c 1 -w 10 "+demo.Internet)
	u.Must(u.Basalt, "wgkeys uninstall --keys -y shale")
	u.Same(u.Shale, network, "after uninstall")
	if diff := demo.LineDiff(files, listing(u, u.Shale)); diff != "" {
		t.Errorf("uninstall leaves a difference:\n%s", diff)
	}
	if r := u.Run(u.Basalt, "wgkeys uninstall -y shale"); r.Code != ui.ExitDone ||
		!strings.Contains(r.Stderr, "nothing to do") {
		t.Errorf("the second uninstall exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// TestLabInstallUpgrade: the program is replaced under traffic, a thousand packets a second
// each way, and none is lost: the device in user space goes on, and is said to.
func TestLabInstallUpgrade(t *testing.T) {
	for _, b := range labtest.Backends() {
		t.Run(string(b), func(t *testing.T) {
			b.Use(t)
			u := labtest.NewUsers(t)
			u.Tunnel(strings.Replace(demo.FirstTunnel, "forward   = true",
				"forward = true\naddresses = [\"2001:db8:7767::1/128\"]", 1))
			slow := lab.Kernel() == "vm" // where the copying over ssh alone takes a quarter of an hour
			begin := "wgkeys install --up -q shale basalt"
			if slow {
				begin = "wgkeys apply -q shale && wgkeys apply -q"
			}
			u.Must(u.Basalt, begin+" && ping -6 -n -c 1 -w 60 2001:db8:7767::1")
			hosts := []*lab.Host{u.Basalt, u.Shale}
			for _, h := range hosts {
				if slow {
					u.Must(h, "wgkeys install -q")
				}
				// Another build of the same program: what follows the end of an ELF file is not read.
				u.Must(h, "mkdir -p /root/new && cp /usr/local/bin/wgkeys /root/new/ && echo newer >>/root/new/wgkeys")
			}
			flows := u.Flows(u.Basalt, u.Shale, "2001:db8:7767::2", "2001:db8:7767::1", time.Millisecond)
			labtest.WaitFlowing(t, flows[0], flows[1])
			t.Log("packets flow both ways")
			old := u.Must(u.Shale, "sha256sum </usr/local/bin/wgkeys")
			upgrade := func(h *lab.Host, command string) {
				r := u.Run(h, command)
				t.Logf("%s: %s: exit %d", h.Name(), command, r.Code)
				said := strings.Contains(r.Stderr, "wg0: its device in user space still runs the previous program")
				if r.Code != ui.ExitDone || said != (b == labtest.Embedded) {
					t.Errorf("install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
				}
				u.Must(h, "echo more >>/root/new/wgkeys")
			}
			for range 5 {
				if !slow {
					upgrade(u.Basalt, "/root/new/wgkeys install shale basalt")
					continue
				}
				for _, h := range hosts { // what the host does after the program has come
					upgrade(h, "/root/new/wgkeys install")
				}
			}
			if now := u.Must(u.Shale, "sha256sum </usr/local/bin/wgkeys"); now == old {
				t.Error("the program is the one before")
			}
			u.Must(u.Basalt, "wgkeys plan shale && wgkeys plan") // the new one gets on with the device
			for _, f := range flows {
				n := f.Count()
				t.Logf("%d upgrades: %v", 5*len(hosts), n)
				if n.Lost != 0 || n.Sent < 1000 {
					t.Errorf("%v", n)
				}
			}
		})
	}
}

// TestLabUninstallThroughTunnel: the connection is lost to the very tunnel that is taken
// down, and the host goes on to the end by itself.
func TestLabUninstallThroughTunnel(t *testing.T) {
	u := labtest.NewUsers(t)
	inside := strings.Replace(demo.FirstTunnel, "forward   = true",
		"forward = true\naddresses = [\"2001:db8:7767::1/128\"]", 1)
	u.Tunnel(inside)
	u.Must(u.Basalt, "wgkeys install --up -q shale basalt && ping -6 -n -c 1 -w 10 2001:db8:7767::1")
	u.Tunnel(strings.Replace(inside, `"root@93.93.130.7" `, `"root@2001:db8:7767::1" `, 1))
	u.Must(u.Basalt, "mkdir -p .ssh ~/.ssh && echo 'StrictHostKeyChecking accept-new' >~/.ssh/config && wgkeys plan -q shale")
	r := u.Run(u.Basalt, "wgkeys uninstall --keys -y shale")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "the host finishes it by itself") {
		t.Errorf("uninstall exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Until("shale to be without wgkeys", func() bool {
		return u.Run(u.Shale, "ls /usr/local/bin/wgkeys /run/wgkeys /etc/wgkeys/* /etc/wireguard/* 2>/dev/null").Stdout == ""
	})
}
