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
	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabRotateWriteFaults: whatever goes wrong with what a rotation writes to the
// repository, the key that the host uses is in the vault, check tells how far the
// rotation is, and the next one finishes. -long faults takes all cases.
func TestLabRotateWriteFaults(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	self, err := os.Executable()
	if err == nil {
		err = u.Basalt.Install("hit", self)
	}
	if err != nil {
		t.Fatal(err)
	}
	u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
	code, out, trace := rotateHit(u, faulttest.Case{Fault: "none", Point: "-"})
	if code != ui.ExitDone || len(trace) < 10 {
		t.Fatalf("exit %d, %q\n%s", code, trace, out)
	}
	all := faulttest.Cases(trace)
	sample := all
	if !long("faults") {
		sample = nil
		for _, n := range rand.New(rand.NewPCG(0, 0)).Perm(len(all))[:2] {
			sample = append(sample, all[n])
		}
	}
	ends := map[string]int{}
	for _, c := range sample {
		rotateWith(u, c, ends)
	}
	t.Logf("%d of %d cases: %v", len(sample), len(all), ends)
}

// rotateHit rotates basalt's key, and has one write to the repository go wrong.
func rotateHit(u *labtest.Users, c faulttest.Case) (code int, out string, trace []string) {
	u.Helper()
	r := u.Run(u.Basalt, "rm -f /root/trace; hit /root/net /root/trace "+c.Fault+" "+ui.Quoted(c.Point)+
		" wgkeys rotate -y basalt")
	return r.Code, r.Stdout + r.Stderr, strings.Split(u.Read(u.Basalt, "/root/trace"), "\n")
}

func rotateWith(u *labtest.Users, c faulttest.Case, ends map[string]int) {
	t := u.T
	t.Helper()
	where := c.String()
	code, out, trace := rotateHit(u, c)
	if !slices.Contains(trace, "HIT") {
		t.Errorf("%s: it was not come to\n%s%q", where, out, trace)
	}
	if end := c.End(code, out, ui.ExitFailed); end != "" {
		ends[end]++
	} else {
		t.Errorf("%s: exit %d\n%s", where, code, out)
	}
	if !liveKeyInVault(u) {
		t.Errorf("%s: the key that basalt uses is not in the vault\n%s", where, out)
	}
	for _, f := range checkOpening(u) {
		if f.Check != "rotation" || f.Host != "basalt" {
			t.Errorf("%s: check finds %+v", where, f)
		}
	}
	if r := u.Run(u.Basalt, "wgkeys rotate -y basalt"); r.Code != ui.ExitDone {
		t.Errorf("%s: the next rotate: exit %d\n%s", where, r.Code, r.Stderr)
	}
	if !liveKeyInVault(u) {
		t.Errorf("%s, again: the key that basalt uses is not in the vault", where)
	}
	for _, f := range checkOpening(u) {
		t.Errorf("%s, again: check finds %+v", where, f)
	}
	if live := strings.TrimSpace(u.Must(u.Basalt, "wg show wg0 public-key")); live != publicKeyOf(u, "basalt") {
		t.Errorf("%s, again: basalt uses %s, and the keyring has %s", where, live, publicKeyOf(u, "basalt"))
	}
	if left := u.Must(u.Basalt, "find . /etc/wireguard -name '.*.*' -o -name '*next*'"); left != "" {
		t.Errorf("%s, again: left are %s", where, left)
	}
	u.Must(u.Basalt, "ping -6 -n -q -c 1 -w 20 2001:db8:ffff::1")
}

// liveKeyInVault reports whether stock age finds the private key that basalt uses.
func liveKeyInVault(u *labtest.Users) bool {
	u.Helper()
	live := u.Must(u.Basalt, "wg show wg0 public-key")
	vault := u.Must(u.Basalt,
		"for f in vault/basalt/*.age; do age -d -i ~/.config/wgkeys/identity.txt $f | wg pubkey; done")
	return slices.Contains(strings.Fields(vault), strings.TrimSpace(live))
}

// checkOpening is what check finds with every vault file opened.
func checkOpening(u *labtest.Users) []check.Finding {
	u.Helper()
	r := u.Run(u.Basalt, "wgkeys check --json -i ~/.config/wgkeys/identity.txt")
	var found []check.Finding
	if err := json.Unmarshal([]byte(r.Stdout), &found); err != nil || r.Code != ui.ExitDone && r.Code != ui.ExitFindings {
		u.Fatalf("check: exit %d, %v\n%s", r.Code, err, r.Stderr)
	}
	return found
}
