//go:build managers

package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
)

// TestLabManagersDhcpcd: beside the real dhcpcd that manages all interfaces, as Raspberry Pi OS had it,
// the host keeps the default route that dhcpcd itself makes of router advertisements. That it takes
// the tunnel as well is a finding, and what that says to run ends it.
func TestLabManagersDhcpcd(t *testing.T) {
	u := labtest.FirstUsers(t)
	u.Tunnel(fullTunnel)
	u.Clone()
	unpackOn(u, u.Shale, "dhcpcd")
	// There is neither udev nor a DHCP server. What the finding says of systemd is done by hand.
	const start = "setsid dhcpcd -B >>/run/dhcpcd.log 2>&1 </dev/null &"
	u.Must(u.Shale, "pkill dhcpcd; while pgrep dhcpcd; do sleep 0.1; done; rm -f /run/dhcpcd.log; mkdir -p /var/lib/dhcpcd")
	u.Write(u.Shale, "/etc/dhcpcd.conf", "duid\nnodev\nslaac private\npersistent\nnoipv4ll\n")
	u.Must(u.Shale, start)
	advertised := func() bool {
		return strings.Contains(u.Run(u.Shale, "ip -6 route show default").Stdout, "proto ra metric 1002")
	}
	u.Until("dhcpcd to make the default route", advertised)

	// Of an interface that comes up without an address it says that somebody else is to give it one,
	// and takes it or not. One that has its address when dhcpcd starts, as after an upgrade, it takes.
	const restart = "pkill -o dhcpcd; while pgrep dhcpcd; do sleep 0.1; done; ( " + start + " )"
	u.Must(u.Shale, "wgkeys apply && { "+restart+"; }")
	u.Until("dhcpcd to take the tunnel", func() bool {
		return u.Run(u.Shale, "ip route show dev wg0 proto dhcp").Stdout != ""
	})
	u.Must(u.Shale, "wgkeys apply")
	r := u.Run(u.Shale, "wgkeys plan")
	_, says, found := strings.Cut(r.Stderr, "Of dhcpcd: ")
	if r.Code != 0 || r.Stdout != "" || !found {
		t.Fatalf("plan beside dhcpcd exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	says, _, _ = strings.Cut(says, "\n")
	says = strings.Replace(says, "systemctl restart dhcpcd", restart, 1)
	u.Must(u.Shale, says)
	u.Until("dhcpcd to start again, and an apply to have nothing to do", func() bool {
		r := u.Run(u.Shale, "wgkeys plan")
		return strings.Count(u.Read(u.Shale, "/run/dhcpcd.log"), "starting") == 3 && advertised() && r.Code == 0 &&
			r.Stdout == "" && !strings.Contains(r.Stderr, "finding")
	})
	u.Must(u.Shale, "wgkeys down && wgkeys apply && sleep 1")
	taken := strings.Contains(u.Must(u.Shale, "ip route"), "wg0 proto dhcp")
	if r := u.Run(u.Shale, "wgkeys plan"); r.Code != 0 || taken {
		t.Errorf("dhcpcd takes a new interface, which it is denied: exit %d\n%s", r.Code, r.Stderr)
	}
}
