//go:build amd64

package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/ui"
)

// TestLabRotateWriteFaults: whatever goes wrong with what a rotation writes to the
// repository, the key that the host uses is in the vault, check tells how far the
// rotation is, and the next one finishes. -long faults takes all cases.
func TestLabRotateWriteFaults(t *testing.T) {
	t.Parallel()
	u := newUsers(t)
	self, err := os.Executable()
	if err == nil {
		err = u.Basalt.Install("hit", self)
	}
	if err != nil {
		t.Fatal(err)
	}
	u.must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
	code, out, trace := u.hit(vaultCase{fault: "none", point: "-"})
	if code != ui.ExitDone || len(trace) < 10 {
		t.Fatalf("exit %d, %q\n%s", code, trace, out)
	}
	all := casesOf(trace)
	sample := all
	if !long("faults") {
		sample = nil
		for _, n := range rand.New(rand.NewPCG(0, 0)).Perm(len(all))[:2] {
			sample = append(sample, all[n])
		}
	}
	ends := map[string]int{}
	for _, c := range sample {
		u.rotateWith(c, ends)
	}
	t.Logf("%d of %d cases: %v", len(sample), len(all), ends)
}

// hit rotates basalt's key, and has one write to the repository go wrong.
func (u *users) hit(c vaultCase) (code int, out string, trace []string) {
	u.t.Helper()
	r := u.run(u.Basalt, "rm -f /root/trace; hit /root/net /root/trace "+c.fault+" "+ui.Quoted(c.point)+" wgkeys rotate -y basalt")
	return r.code, r.stdout + r.stderr, strings.Split(u.read(u.Basalt, "/root/trace"), "\n")
}

func (u *users) rotateWith(c vaultCase, ends map[string]int) {
	t := u.t
	t.Helper()
	where := c.fault + " at " + c.point
	code, out, trace := u.hit(c)
	if !slices.Contains(trace, "HIT") {
		t.Errorf("%s: it was not come to\n%s%q", where, out, trace)
	}
	killed := slices.Contains([]string{"before", "after", "torn"}, c.fault)
	switch {
	case killed && code == 128+9:
		ends["killed"]++
	case !killed && code == ui.ExitDone:
		ends["done all the same"]++
	case !killed && code == ui.ExitFailed && strings.Contains(out, "wgkeys: error: "):
		ends["told an error"]++
	default:
		t.Errorf("%s: exit %d\n%s", where, code, out)
	}
	if !u.liveKeyInVault() {
		t.Errorf("%s: the key that basalt uses is not in the vault\n%s", where, out)
	}
	for _, f := range u.checkOpening() {
		if f.Check != "rotation" || f.Host != "basalt" {
			t.Errorf("%s: check finds %+v", where, f)
		}
	}
	if r := u.run(u.Basalt, "wgkeys rotate -y basalt"); r.code != ui.ExitDone {
		t.Errorf("%s: the next rotate: exit %d\n%s", where, r.code, r.stderr)
	}
	if !u.liveKeyInVault() {
		t.Errorf("%s, again: the key that basalt uses is not in the vault", where)
	}
	for _, f := range u.checkOpening() {
		t.Errorf("%s, again: check finds %+v", where, f)
	}
	if live := strings.TrimSpace(u.must(u.Basalt, "wg show wg0 public-key")); live != u.pub("basalt") {
		t.Errorf("%s, again: basalt uses %s, and the keyring has %s", where, live, u.pub("basalt"))
	}
	if left := u.must(u.Basalt, "find . /etc/wireguard -name '.*.*' -o -name '*next*'"); left != "" {
		t.Errorf("%s, again: left are %s", where, left)
	}
	u.must(u.Basalt, "ping -6 -n -q -c 1 -w 20 2001:db8:ffff::1")
}

// liveKeyInVault reports whether stock age finds the private key that basalt uses.
func (u *users) liveKeyInVault() bool {
	u.t.Helper()
	live := u.must(u.Basalt, "wg show wg0 public-key")
	vault := u.must(u.Basalt, "for f in vault/basalt/*.age; do age -d -i ~/.config/wgkeys/identity.txt $f | wg pubkey; done")
	return slices.Contains(strings.Fields(vault), strings.TrimSpace(live))
}

// checkOpening is what check finds with every vault file opened.
func (u *users) checkOpening() []check.Finding {
	u.t.Helper()
	r := u.run(u.Basalt, "wgkeys check --json -i ~/.config/wgkeys/identity.txt")
	var found []check.Finding
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || r.code != ui.ExitDone && r.code != ui.ExitFindings {
		u.t.Fatalf("check: exit %d, %v\n%s", r.code, err, r.stderr)
	}
	return found
}
