package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// olderVersions are commits whose program hosts may still have: the last one before
// the present line of work, and one with the first protocol.
var olderVersions = []string{"bdaaf92", "7f552bd"}

// buildOlder builds the program of a commit, once on this machine: no commit changes. Where
// git does not have it, as in a shallow clone, the test is skipped.
func buildOlder(t *testing.T, commit string) (program string) {
	t.Helper()
	if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
		t.Skip("git has no commit " + commit + " here")
	}
	program, err := filepath.Abs("../../.lab/older/" + commit + "-" + runtime.Version())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err == nil {
		return program
	}
	const script = `git -C ../.. archive "$1" | tar -x -C "$2"
		mkdir -p "${3%/*}"
		cd "$2"
		CGO_ENABLED=0 go build -buildvcs=false -o "$3.new" ./cmd/wgkeys
		mv "$3.new" "$3"`
	if out, err := exec.Command("sh", "-ec", script, "sh", commit, t.TempDir(), program).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commit, err, out)
	}
	return program
}

// TestLabOlderHost: shale has an older wgkeys. What can be done with it is done, and
// for the rest there is one hint: to upgrade it.
func TestLabOlderHost(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	for _, commit := range olderVersions {
		t.Run(commit, func(t *testing.T) {
			u := u.With(t)
			if err := u.Shale.Install("wgkeys", buildOlder(t, commit)); err != nil {
				t.Fatal(err)
			}
			u.Must(u.Basalt, "wgkeys push --all basalt && wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet)
			u.Must(u.Basalt, "wgkeys plan shale")
			r := u.Run(u.Basalt, "wgkeys status --json")
			if s := statusOf(t, r.Stdout, "shale"); r.Code != ui.ExitDone || s.Live != s.Key || s.File != s.Key ||
				len(s.Peers) != 1 || s.Peers[0].Received == 0 {
				t.Errorf("status exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
			}
			olderDiagnosis(u)
			olderView(u)
			olderRotates(u, commit)
			olderKept(u)
			u.Must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
		})
	}
	withNewer(u)
}

// olderDiagnosis: a key of the view that only serves to find out what is wrong is left out, and
// nothing is said of it.
func olderDiagnosis(u *labtest.Users) {
	u.Helper()
	defer u.Tunnel(demo.FirstTunnel)
	u.Tunnel(strings.Replace(demo.FirstTunnel, `["::/0"]`, `["::/0", "2001:db8:77::/48"]`, 1))
	if view := u.Must(u.Basalt, "wgkeys show --json shale"); !strings.Contains(view, `"through"`) {
		u.Fatalf("there is nothing to leave out: %s", view)
	}
	u.Must(u.Basalt, "wgkeys down --quiet shale")
	for _, verb := range []string{"plan", "status -v", "apply", "apply --confirm 0", "plan", "plan --json", "status"} {
		r := u.Run(u.Basalt, "wgkeys "+verb+" shale")
		if found := r.Code == ui.ExitFindings; r.Code != ui.ExitDone && !found ||
			strings.Contains(r.Stdout+r.Stderr, "through") ||
			strings.Contains(r.Stderr, "error") || strings.Contains(r.Stderr, "upgrade") {
			u.Errorf("%s exits %d: %s%s", verb, r.Code, r.Stdout, r.Stderr)
		}
	}
}

// olderView: what the older program does not know is not left out silently, and what
// else is known of the host is reported.
func olderView(u *labtest.Users) {
	u.Helper()
	defer u.Tunnel(demo.FirstTunnel)
	u.Tunnel(strings.Replace(demo.FirstTunnel, "forward   = true", "forward = true\nkill_switch = false", 1))
	for _, verb := range []string{"plan", "apply", "status -v"} {
		r := u.Run(u.Basalt, "wgkeys "+verb+" shale")
		if r.Code == ui.ExitDone || !strings.Contains(r.Stdout+r.Stderr, "upgrade wgkeys on shale: wgkeys install shale") {
			u.Errorf("%s exits %d: %s%s", verb, r.Code, r.Stdout, r.Stderr)
		}
		if verb == "status -v" && (r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, " received, ")) {
			u.Errorf("status exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
		}
	}
}

// olderKept: the older program came after a newer one, whose view for the next boot it cannot
// read. It says so: to leave the key out of what is sent does not help.
func olderKept(u *labtest.Users) {
	u.Helper()
	u.Must(u.Basalt, "wgkeys push -q --all basalt && wgkeys apply -q --confirm 0 shale")
	u.Must(u.Shale, `sed -i 's/"tunnel"/"through": ["2001:db8:77::\/48"], "tunnel"/' /etc/wgkeys/wg0.view`)
	defer u.Tunnel(demo.FirstTunnel)
	u.Tunnel("keepalive = 23\n" + demo.FirstTunnel)
	const why = `error: cannot read the view: json: unknown field "through"`
	r := u.Run(u.Basalt, "wgkeys apply shale")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, why) ||
		!strings.Contains(r.Stderr, "upgrade wgkeys on shale: wgkeys install shale") {
		u.Errorf("apply exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q --confirm 0 shale")
}

// olderRotates: a rotation needs the same version, but a stolen key is refused by
// an older one too.
func olderRotates(u *labtest.Users, commit string) {
	u.Helper()
	const upgrade = "hint: upgrade wgkeys on shale: wgkeys install shale"
	if commit != olderVersions[0] {
		before := publicKeyOf(u, "basalt")
		r := u.Run(u.Basalt, "wgkeys rotate -y basalt")
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, upgrade) || strings.Contains(r.Stderr, "--skip") ||
			publicKeyOf(u, "basalt") != before {
			u.Errorf("rotate exits %d: %s", r.Code, r.Stderr)
		}
	}
	old := publicKeyOf(u, "basalt")
	u.Must(u.Basalt, "wgkeys rotate -y --now basalt")
	if peers := u.Must(u.Shale, "wg show wg0 peers"); strings.Contains(peers, old) ||
		!strings.Contains(peers, publicKeyOf(u, "basalt")) {
		u.Errorf("the stolen key was %s; peers of shale: %s", old, peers)
	}
}

// withNewer: a controller that is the older one of the two is told so, or answered.
func withNewer(u *labtest.Users) {
	u.Helper()
	self, err := os.Executable()
	if err != nil {
		u.Fatal(err)
	}
	if err := u.Shale.Install("wgkeys", self); err != nil {
		u.Fatal(err)
	}
	if err := u.Basalt.Install("wgkeys", buildOlder(u.T, olderVersions[0])); err != nil {
		u.Fatal(err)
	}
	u.Must(u.Basalt, "wgkeys apply --quiet shale && wgkeys apply --quiet && ping -6 -n -c 1 -w 10 "+demo.Internet+" && wgkeys status && wgkeys plan shale")
	u.Must(u.Basalt, "wgkeys down --quiet && wgkeys down --quiet shale")
}
