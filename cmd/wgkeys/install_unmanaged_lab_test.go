package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
)

// TestLabInstallUnmanaged: a manager that is installed is told to leave the interface alone
// before it runs, and reads it as the user that it runs as, whatever umask apply has
// and whatever mode the folder had. The programs themselves are in TestLabManagers and
// TestLabSystemd; here it is enough that they are there.
func TestLabInstallUnmanaged(t *testing.T) {
	u := labtest.FirstUsers(t)
	const file, first = "/run/systemd/network/05-wgkeys-wg0.network", "/run/systemd/network/-wgkeys-wg0.network"
	const asNobody = "setpriv --reuid=65534 --regid=65534 --clear-groups "
	text := "[Match]\nName=wg0\n[Link]\nUnmanaged=yes\n"
	u.Must(u.Basalt, "install -D /bin/true /usr/lib/systemd/systemd-networkd && install -D /bin/true /usr/sbin/NetworkManager && install -d -m 700 /run/systemd /run/systemd/network")
	defer u.Must(u.Basalt,
		"rm -r /usr/lib/systemd/systemd-networkd /usr/sbin/NetworkManager /run/systemd /run/NetworkManager")

	u.Must(u.Basalt, "umask 077; wgkeys apply")
	for path, want := range map[string]string{
		file: text,
		"/run/NetworkManager/conf.d/wgkeys-wg0.conf": "[device-wgkeys-wg0]\nmatch-device=interface-name:=wg0\nmanaged=0\n",
	} {
		if got := u.Must(u.Basalt, asNobody+"cat "+path); got != want {
			t.Errorf("another user reads in %s\n%s", path, got)
		}
	}
	u.PlanIs("after apply")

	for _, c := range []struct{ spoil, step string }{
		{"rm " + file, "> " + file},
		{"chmod 600 " + file, "> " + file},
		{"chmod 700 /run/systemd/network", "> " + file},
		{"echo >" + file, "> " + file},
		// The first file that matches counts, and that is not ours any more.
		{"mkdir -p /etc/systemd/network; printf '[Match]\\nName=wg*\\n' >/etc/systemd/network/00-all.network", "> " + first},
		{"rm /etc/systemd/network/00-all.network", "> " + file},
	} {
		u.Must(u.Basalt, c.spoil)
		u.PlanIs(c.spoil, c.step)
		u.Must(u.Basalt, "umask 077; wgkeys apply")
		u.PlanIs("after " + c.spoil + " and apply")
		path := strings.TrimPrefix(c.step, "> ")
		if got := u.Must(u.Basalt, asNobody+"cat "+path+" && ls /run/systemd/network | wc -l"); got != text+"1\n" {
			t.Errorf("after %s another user reads\n%s", c.spoil, got)
		}
	}
	u.Must(u.Basalt, "wgkeys down && ! ls /run/systemd/network/*wgkeys* /run/NetworkManager/conf.d/*wgkeys* 2>/dev/null")
}
