package main

import (
	"os"
	"testing"

	"wgkeys/cmd/internal/labtest"
)

// TestLabImportIfupdown2: with the real ifupdown2, as Proxmox VE has it, a tunnel that was taken
// over survives "ifreload -a", which removes what has no stanza any more, and so does one that
// was given back, and one that ifupdown2 has never seen. What export writes has its MTU there, and
// the hook brings tunnels up at boot.
func TestLabImportIfupdown2(t *testing.T) {
	u := labtest.NewUsers(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u.Tunnel(liveTunnel + "mtu = 1380\n")
	unpackOn(u, u.Basalt, "ifupdown2")
	u.Must(u.Basalt, "chmod +x /usr/share/ifupdown2/__main__.py") // as the package's script does
	if err := u.Basalt.Install("wireguard-go", self); err != nil {
		t.Fatal(err)
	}
	reload := func(when string) {
		t.Helper()
		before := u.Snapshot(u.Basalt)
		u.Must(u.Basalt, "ifreload -a")
		u.Same(u.Basalt, before, when)
	}
	u.Must(u.Basalt, `mkdir -p /etc/network/interfaces.d /run/network && printf 'auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n' >/etc/network/interfaces
		ifup -a && wgkeys apply`)
	reload("a tunnel that ifupdown2 never saw")

	u.Must(u.Basalt, `wgkeys down; umask 077; mkdir /root/ifupdown; wgkeys export --format ifupdown -o /root/ifupdown/ basalt
		sed 's/pre-up ip link add.*/pre-up wireguard-go wg0/' /root/ifupdown/wg0 >/etc/network/interfaces.d/wg0
		cp /root/ifupdown/wg0.conf /etc/wireguard/ && ifup wg0`)
	if got := u.Must(u.Basalt, "cat /sys/class/net/wg0/mtu; ifreload -a; cat /sys/class/net/wg0/mtu"); got != "1380\n1380\n" {
		t.Errorf("ifupdown2 sets the MTU to %s", got)
	}
	stanza := u.Read(u.Basalt, "/etc/network/interfaces.d/wg0")
	u.Must(u.Basalt, "wgkeys import --take-over")
	reload("taken over")
	if out := u.Must(u.Basalt, "wgkeys plan"); out != "" {
		t.Errorf("an apply has something to do:\n%s", out)
	}
	u.Must(u.Basalt, "wgkeys import --undo")
	if again := u.Read(u.Basalt, "/etc/network/interfaces.d/wg0"); again != stanza {
		t.Errorf("the stanza was\n%s\nand is\n%s", stanza, again)
	}
	u.Must(u.Basalt, "wg show wg0 peers && ifdown wg0")

	u.Must(u.Basalt, `rm /etc/network/interfaces.d/wg0 && wgkeys apply && wgkeys install --ifupdown && wgkeys down
		printf 'auto eth0\niface eth0 inet static\n\taddress 192.0.2.10/24\n' >>/etc/network/interfaces && ifup -a && wg show wg0 peers`)
}
