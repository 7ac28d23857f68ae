package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units say nothing that systemd does not understand.
func TestUnitsVerify(t *testing.T) {
	require(t, "systemd-analyze")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"wgkeys@.service", "wgkeys-names@.service", "wgkeys-device@.service"} {
		text, err := boot.ReadFile("boot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		unit := filepath.Join(dir, name)
		// It wants the program to be where it will be.
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), installedProgram, self)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, strings.Replace(name, "@", "@wg0", 1))); err != nil {
			t.Fatal(err)
		}
		units = append(units, filepath.Join(dir, strings.Replace(name, "@", "@wg0", 1)))
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// After a reboot, which leaves neither interface nor journal, the hook brings
// the tunnel up from the kept view: there is no repository on shale.
func TestIfupdownHook(t *testing.T) {
	u := newUsers(t)
	u.must(u.Basalt, "wgkeys apply shale")
	up := u.must(u.Shale, "ip -6 route show dev wg0; sysctl net.ipv6.conf.eth0.accept_ra "+u.forwarding())
	u.must(u.Shale, "rm -rf /root/net && wgkeys install --ifupdown")
	u.must(u.Shale, "ip link del wg0; rm -rf /run/wgkeys; "+unforward)
	u.must(u.Shale, "IFACE=eth0 /etc/network/if-up.d/wgkeys && ! ip link show wg0 2>/dev/null")
	u.must(u.Shale, "IFACE=--all /etc/network/if-up.d/wgkeys")
	if again := u.must(u.Shale, "ip -6 route show dev wg0; sysctl net.ipv6.conf.eth0.accept_ra "+u.forwarding()); again != up {
		t.Errorf("after the reboot:\n%swant:\n%s", again, up)
	}
}

// At boot apply comes before the first router advertisement. A host that
// forwards by then must still learn its default route when it comes.
func TestBootBeforeTheFirstAdvertisement(t *testing.T) {
	u := newUsers(t)
	u.must(u.Basalt, "wgkeys apply shale")
	u.must(u.Shale, "wgkeys down && ip -6 route flush proto ra && ip link set eth0 down")
	before := u.snapshot(u.Shale)
	u.must(u.Shale, "wgkeys apply --view /etc/wgkeys/wg0.view")
	u.must(u.Shale, "ip link set eth0 up")
	if err := u.Shale.WaitRoute(t.Context(), "-6 default proto ra"); err != nil {
		t.Errorf("shale is deaf to router advertisements: %v", err)
	}
	u.must(u.Shale, "wgkeys down && ip link set eth0 down")
	u.must(u.Shale, "ip -6 route flush proto ra")
	u.same(u.Shale, before, "after down")
}
