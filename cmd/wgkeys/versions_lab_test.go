package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
)

// olderVersions are commits whose program hosts may still have: the last one before
// the present line of work, and one with the first protocol.
var olderVersions = []string{"bdaaf92", "7f552bd"}

// buildOlder builds the program of a commit; where git does not have it, as in a shallow
// clone, the test is skipped.
func buildOlder(t *testing.T, commit string) (program string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("git -C ../.. archive %s | tar -x -C %s && cd %[2]s && CGO_ENABLED=0 go build -buildvcs=false -o wgkeys.older ./cmd/wgkeys", commit, dir)
	if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
		t.Skip("git has no commit " + commit + " here")
	}
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commit, err, out)
	}
	return filepath.Join(dir, "wgkeys.older")
}

// TestLabOlderHost: shale has an older wgkeys. What can be done with it is done, and
// for the rest there is one hint: to upgrade it.
func TestLabOlderHost(t *testing.T) {
	t.Parallel()
	u := newUsers(t)
	for _, commit := range olderVersions {
		t.Run(commit, func(t *testing.T) {
			u := u.with(t)
			if err := u.Shale.Install("wgkeys", buildOlder(t, commit)); err != nil {
				t.Fatal(err)
			}
			u.must(u.Basalt, "wgkeys push --all basalt && wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
			u.must(u.Basalt, "wgkeys plan shale")
			r := u.run(u.Basalt, "wgkeys status --json")
			if s := statusOf(t, r.stdout, "shale"); r.code != ui.ExitDone || s.Live != s.Key || s.File != s.Key || len(s.Peers) != 1 || s.Peers[0].Received == 0 {
				t.Errorf("status exits %d: %s%s", r.code, r.stdout, r.stderr)
			}
			u.olderView()
			u.olderRotates(commit)
			u.must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
		})
	}
	u.withNewer()
}

// olderView: what the older program does not know is not left out silently, and what
// else is known of the host is told.
func (u *users) olderView() {
	u.t.Helper()
	defer u.tunnel(demo.FirstTunnel)
	u.tunnel(strings.Replace(demo.FirstTunnel, "forward   = true", "forward = true\nkill_switch = false", 1))
	for _, verb := range []string{"plan", "apply", "status"} {
		r := u.run(u.Basalt, "wgkeys "+verb+" shale")
		if r.code == ui.ExitDone || !strings.Contains(r.stdout+r.stderr, "upgrade wgkeys on shale: scp ") {
			u.t.Errorf("%s exits %d: %s%s", verb, r.code, r.stdout, r.stderr)
		}
		if verb == "status" && (r.code != ui.ExitFindings || !strings.Contains(r.stdout, " received, ")) {
			u.t.Errorf("status exits %d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
}

// olderRotates: a rotation needs the same version, but a stolen key is refused by
// an older one too.
func (u *users) olderRotates(commit string) {
	u.t.Helper()
	const upgrade = "hint: upgrade wgkeys on shale: scp $(command -v wgkeys) root@93.93.130.7:/usr/local/bin/"
	if commit != olderVersions[0] {
		before := u.pub("basalt")
		r := u.run(u.Basalt, "wgkeys rotate -y basalt")
		if r.code != ui.ExitFailed || !strings.Contains(r.stderr, upgrade) || strings.Contains(r.stderr, "--skip") || u.pub("basalt") != before {
			u.t.Errorf("rotate exits %d: %s", r.code, r.stderr)
		}
	}
	old := u.pub("basalt")
	u.must(u.Basalt, "wgkeys rotate -y --now basalt")
	if peers := u.must(u.Shale, "wg show wg0 peers"); strings.Contains(peers, old) || !strings.Contains(peers, u.pub("basalt")) {
		u.t.Errorf("the stolen key was %s; peers of shale: %s", old, peers)
	}
}

// withNewer: a controller that is the older one of the two is told so, or answered.
func (u *users) withNewer() {
	u.t.Helper()
	self, err := os.Executable()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := u.Shale.Install("wgkeys", self); err != nil {
		u.t.Fatal(err)
	}
	if err := u.Basalt.Install("wgkeys", buildOlder(u.t, olderVersions[0])); err != nil {
		u.t.Fatal(err)
	}
	u.must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet+" && wgkeys status && wgkeys plan shale")
	u.must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}
