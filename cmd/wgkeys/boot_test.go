package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/host/boot"
)

// The units say nothing that systemd does not understand.
func TestUnitsVerify(t *testing.T) {
	labtest.Require(t, "systemd-analyze")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var units []string
	for _, f := range boot.Systemd.Files(nil) {
		name := filepath.Base(f.Path)
		unit := filepath.Join(dir, name)
		// It wants the program to be where it will be.
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(f.Text), boot.Program(), self)), 0o644); err != nil {
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

// TestUnitsExposure: what a unit may do is little enough for systemd's own measure, of 10. The
// first changes the network of the host, as root.
func TestUnitsExposure(t *testing.T) {
	labtest.Require(t, "systemd-analyze")
	for _, f := range boot.Systemd.Files(nil) {
		name := strings.Replace(filepath.Base(f.Path), "@", "", 1) // of a template it wants an instance
		unit := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(unit, f.Text, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit).
			CombinedOutput()
		last := regexp.MustCompile("exposure level for " + regexp.QuoteMeta(name) + ": ([0-9.]+)").FindSubmatch(out)
		if last == nil {
			t.Fatalf("systemd-analyze security: %v\n%s", err, out)
		}
		if level, convErr := strconv.ParseFloat(string(last[1]), 64); convErr != nil || level >= 2 {
			t.Errorf("%s is exposed, %s of 10:\n%s", name, last[1], out)
		}
	}
}

// After a reboot, which leaves neither interface nor journal, the hook brings
// the tunnel up from the kept view: there is no repository on shale.
func TestIfupdownHook(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply shale")
	up := u.Must(u.Shale, "ip -6 route show dev wg0; sysctl net.ipv6.conf.eth0.accept_ra "+forwardingOf(u))
	u.Must(u.Shale, "rm -rf /root/net && wgkeys install --ifupdown")
	u.Must(u.Shale, "ip link del wg0; rm -rf /run/wgkeys; "+unforward)
	u.Must(u.Shale, "IFACE=eth0 /etc/network/if-up.d/wgkeys && ! ip link show wg0 2>/dev/null")
	u.Must(u.Shale, "IFACE=--all /etc/network/if-up.d/wgkeys")
	if again := u.Must(u.Shale,
		"ip -6 route show dev wg0; sysctl net.ipv6.conf.eth0.accept_ra "+forwardingOf(u)); again != up {
		t.Errorf("after the reboot:\n%swant:\n%s", again, up)
	}
}

// At boot apply comes before the first router advertisement. A host that
// forwards by then must still learn its default route when it comes.
func TestBootBeforeTheFirstAdvertisement(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys apply shale")
	u.Must(u.Shale, "wgkeys down && ip -6 route flush proto ra && ip link set eth0 down")
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply --view /etc/wgkeys/wg0.view")
	u.Must(u.Shale, "ip link set eth0 up")
	if err := u.Shale.WaitRoute(t.Context(), "-6 default proto ra"); err != nil {
		t.Errorf("shale is deaf to router advertisements: %v", err)
	}
	u.Must(u.Shale, "wgkeys down && ip link set eth0 down")
	u.Must(u.Shale, "ip -6 route flush proto ra")
	u.Same(u.Shale, before, "after down")
}

// Every sh reads the scripts for hosts without systemd.
func TestBootScripts(t *testing.T) {
	labtest.Require(t, "busybox", "dash", "mksh")
	for _, s := range []boot.System{boot.OpenRC, boot.Ifupdown} {
		for _, f := range s.Files(nil) {
			for _, sh := range []string{"busybox sh", "dash", "mksh"} {
				cmd := exec.Command("sh", "-c", sh+" -n")
				cmd.Stdin = strings.NewReader(string(f.Text))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s, %s: %v\n%s", s, sh, err, out)
				}
			}
		}
	}
}
