package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/faulttest"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// rotationTests are what a person does about rotations; the hosts are shared, and
// each begins with the tunnel up.
var rotationTests = []struct {
	name string
	run  func(*testing.T, *labtest.Users)
}{
	{"Status", rotationStatus},
	{"DryRun", rotationDryRun},
	{"Named", rotationNamed},
	{"CannotHold", rotationCannotHold},
	{"Asks", rotationAsks},
	{"Events", rotationEvents},
	{"OnHost", rotationOnHost},
	{"Due", rotationDue},
	{"Unreachable", rotationUnreachable},
	{"Skip", rotationSkip},
	{"Behind", rotationBehind},
	{"OnHostSealed", rotationOnHostSealed},
	{"Stolen", rotationStolen},
	{"StolenTwice", rotationStolenTwice},
	{"StolenHangs", rotationStolenHangs},
	{"StolenPlanted", rotationStolenPlanted},
	{"StolenPending", rotationStolenPending},
	{"StolenWithoutHost", rotationStolenWithoutHost},
	{"KeyFileIsALink", rotationKeyFileIsALink},
	{"BehindApply", rotationBehindApply},
	{"NoIdentity", rotationNoIdentity},
	{"Deleted", rotationDeleted},
	{"BehindStolen", rotationBehindStolen},
}

func TestLabRotateVerbs(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	for _, l := range rotationTests {
		t.Run(l.name, func(t *testing.T) {
			u := u.With(t)
			u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
			l.run(t, u)
		})
	}
}

// rotationNoIdentity: whoever cannot open the next key begins no rotation.
func rotationNoIdentity(t *testing.T, u *labtest.Users) {
	u.Must(u.Basalt, "age-keygen -o /root/other.txt")
	before := u.Must(u.Basalt, "ls keyring/basalt vault/basalt")
	r := u.Run(u.Basalt, "wgkeys rotate -y -i /root/other.txt basalt")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "no identity opens it") {
		t.Errorf("rotate without an identity: exit %d\n%s", r.Code, r.Stderr)
	}
	if now := u.Must(u.Basalt, "ls keyring/basalt vault/basalt"); now != before {
		t.Errorf("rotate without an identity left\n%s", now)
	}
	if r := u.Run(u.Basalt, "wgkeys rotate -y basalt"); r.Code != ui.ExitDone {
		t.Errorf("rotate with one: exit %d\n%s", r.Code, r.Stderr)
	}
}

// rotationDeleted: a host whose private key was deleted from the vault is not taken for one that
// makes its keys itself.
func rotationDeleted(t *testing.T, u *labtest.Users) {
	u.Must(u.Basalt, `git init -q && git add -A && git -c user.name=who -c user.email=where commit -q -m keys
		rm vault/shale/wg0.key.age`)
	defer u.Must(u.Basalt, "rm -rf .git")
	before := publicKeyOf(u, "shale")
	r := u.Run(u.Basalt, "wgkeys rotate -y shale")
	_, hint, _ := strings.Cut(r.Stderr, "hint: ")
	bring, then, _ := strings.Cut(hint, ", then ")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "it was deleted there, and git has it") ||
		!strings.HasPrefix(then, "wgkeys rotate shale; if the host is to make its key itself: wgkeys rotate --on-host shale") {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	if now := publicKeyOf(u, "shale"); now != before {
		t.Error("shale has another key")
	}
	u.Must(u.Basalt, bring+" && wgkeys rotate -y shale && wgkeys check")
	if publicKeyOf(u, "shale") == before {
		t.Error("shale has its old key")
	}
}

// rotationNamed: this machine's name is that of no host, and --host says which one it is.
func rotationNamed(t *testing.T, u *labtest.Users) {
	const desk = "unshare -u sh -c 'hostname desk; "
	before := publicKeyOf(u, "shale")
	u.Must(u.Basalt, desk+"wgkeys rotate -y --host basalt shale'")
	if publicKeyOf(u, "shale") == before {
		t.Error("shale has its old key")
	}
}

func publicKeyOf(u *labtest.Users, host string) string {
	return strings.TrimSpace(u.Read(u.Basalt, "/root/net/keyring/"+host+"/wg0.pub"))
}

func rotationStatus(t *testing.T, u *labtest.Users) {
	out := u.Must(u.Basalt, "wgkeys status -v")
	for _, want := range []string{"basalt  wg0 ", "  key " + publicKeyOf(u, "basalt"), "  shale  ", "shale   wg0 ",
		"at 93.93.130.7:30567 OUTSIDE"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	u.Must(u.Shale, "ip link set wg0 mtu 1300")
	r := u.Run(u.Basalt, "wgkeys status shale")
	if r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "! 1 of its settings differs from the tunnel file: wgkeys plan shale") {
		t.Errorf("drift: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Shale, "wgkeys down --host shale")
	r = u.Run(u.Basalt, "wgkeys status --json shale")
	var all []remote.HostStatus
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil || r.Code != ui.ExitFindings || len(all) != 1 ||
		!strings.Contains(strings.Join(all[0].Findings, ";"), "the tunnel is not up: wgkeys apply shale") {
		t.Errorf("down: exit %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
}

// repositoryFiles is all that git would see.
func repositoryFiles(u *labtest.Users) string {
	return u.Must(u.Basalt, "find keyring vault tunnels -type f | sort | xargs sha256sum")
}

func rotationDryRun(t *testing.T, u *labtest.Users) {
	repo, here, there := repositoryFiles(u), u.Snapshot(u.Basalt), u.Snapshot(u.Shale)
	r := u.Run(u.Basalt, "wgkeys rotate -n --json")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, `"phase":"plan"`) {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if repositoryFiles(u) != repo {
		t.Error("the repository has changed")
	}
	u.Same(u.Basalt, here, "after a dry run")
	u.Same(u.Shale, there, "after a dry run")
}

// rotationCannotHold: where no packets can be held before the device, the plan says so,
// and why.
func rotationCannotHold(t *testing.T, u *labtest.Users) {
	const note = "cannot buffer packets during the switch: bursts over 128 will drop"
	if r := u.Run(u.Basalt, "wgkeys rotate -n basalt"); strings.Contains(r.Stderr, note) {
		t.Errorf("said where they can be held:\n%s", r.Stderr)
	}
	if lab.HasWireGuard() {
		return // its kernel holds them, whatever becomes of the device
	}
	u.Must(u.Shale, "mv /run/wgkeys/wg0.hold /run/wgkeys/gone")
	r := u.Run(u.Basalt, "wgkeys rotate -n basalt")
	u.Must(u.Shale, "mv /run/wgkeys/gone /run/wgkeys/wg0.hold")
	if r.Code != ui.ExitFindings || !strings.Contains(r.Stderr, "note: shale (nf") || !strings.Contains(r.Stderr, note) {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
}

// rotationAsks: without a terminal nothing is assumed.
func rotationAsks(t *testing.T, u *labtest.Users) {
	repo := repositoryFiles(u)
	r := u.Run(u.Basalt, "setsid wgkeys rotate basalt </dev/null")
	if r.Code != ui.ExitUsage || !strings.Contains(r.Stderr, "basalt wg0: gets a new key; shale will follow") ||
		!strings.Contains(r.Stderr, "-y answers yes") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	if repositoryFiles(u) != repo {
		t.Error("the repository has changed")
	}
}

func rotationEvents(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "basalt")
	var phases []string
	for line := range strings.Lines(u.Must(u.Basalt, "wgkeys rotate -y --json basalt")) {
		var e struct{ Host, Phase string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Host != "basalt" {
			t.Errorf("no event: %s", line)
		}
		phases = append(phases, e.Phase)
	}
	// A peer that has been silent is woken first.
	if got := strings.Replace(strings.Join(phases, " "), " look", "", 1); got != "plan staged proved finished" {
		t.Errorf("phases %q", got)
	}
	if publicKeyOf(u, "basalt") == old {
		t.Error("the key is the old one")
	}
	tunnelIsWhole(u, t)
}

// tunnelIsWhole: nothing is left of a rotation, and an apply has nothing to do.
func tunnelIsWhole(u *labtest.Users, t *testing.T) {
	t.Helper()
	if left := u.Must(u.Basalt, "find keyring vault /etc/wireguard -name '*next*'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		if r := u.Run(u.Basalt, "wgkeys plan "+h.Name()); r.Code != 0 {
			t.Errorf("plan %s: exit %d\n%s%s", h.Name(), r.Code, r.Stdout, r.Stderr)
		}
		peers := strings.Fields(u.Must(h, "wg show wg0 peers"))
		if len(peers) != 1 {
			t.Errorf("%s has peers %v", h.Name(), peers)
		}
	}
	if r := u.Run(u.Basalt, "wgkeys check"); r.Code != 0 {
		t.Errorf("check: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// rotationOnHost: shale makes its key itself, and goes back to the vault's.
func rotationOnHost(t *testing.T, u *labtest.Users) {
	old := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "wgkeys rotate -y --on-host shale")
	if publicKeyOf(u, "shale") == old {
		t.Error("the key is the old one")
	}
	if left := u.Must(u.Basalt, "ls vault/shale"); left != "" {
		t.Errorf("in the vault: %s", left)
	}
	own := publicKeyOf(u, "shale")
	u.Must(u.Basalt, "wgkeys rotate -y shale") // keeps to what it is
	if left := u.Must(u.Basalt, "ls vault/shale"); left != "" || publicKeyOf(u, "shale") == own {
		t.Errorf("in the vault: %s", left)
	}
	u.Must(u.Basalt, "wgkeys push shale && wgkeys apply shale")
	u.Must(u.Basalt, "wgkeys down basalt; wgkeys down shale; rm keyring/shale/wg0.pub; rm -f vault/shale/*")
	u.Must(u.Shale, "rm /etc/wireguard/wg0.key")
	u.Must(u.Basalt, "wgkeys gen --on-host shale")
	u.Must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale && wgkeys status")
	u.Must(u.Basalt, "wgkeys down basalt; wgkeys down shale; rm keyring/shale/wg0.pub && wgkeys gen shale && wgkeys push --unknown shale && wgkeys apply shale && wgkeys apply basalt")
	tunnelIsWhole(u, t)
}

func rotationDue(t *testing.T, u *labtest.Users) {
	if r := u.Run(u.Basalt, "wgkeys rotate -y --due"); r.Code != ui.ExitUsage ||
		!strings.Contains(r.Stderr, `max_key_age = "365d"`) {
		t.Errorf("without max_key_age: exit %d\n%s", r.Code, r.Stderr)
	}
	settings := u.Read(u.Basalt, "/root/net/wgkeys.toml")
	defer u.Write(u.Basalt, "/root/net/wgkeys.toml", settings)
	old := publicKeyOf(u, "basalt")
	u.Write(u.Basalt, "/root/net/wgkeys.toml", settings+"\nmax_key_age = \"365d\"\n")
	if r := u.Run(u.Basalt, "wgkeys rotate -y --due"); r.Code != 0 ||
		!strings.Contains(r.Stderr, "nothing to do: no key is due") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	time.Sleep(1100 * time.Millisecond)
	u.Write(u.Basalt, "/root/net/wgkeys.toml", settings+"\nmax_key_age = \"1s\"\n")
	u.Must(u.Basalt, "wgkeys rotate -y --due")
	if publicKeyOf(u, "basalt") == old {
		t.Error("the key is the old one")
	}
}

// rotationUnreachable: a peer that is not there is named, and nothing changes.
func rotationUnreachable(t *testing.T, u *labtest.Users) {
	repo := repositoryFiles(u)
	u.Must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	defer u.Must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	r := u.Run(u.Basalt, "wgkeys rotate -y basalt")
	for _, want := range []string{`will not rotate the key of basalt: no answer from peer "shale"`,
		"it is not installed there", "--skip shale"} {
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
			t.Errorf("exit %d, want %q\n%s", r.Code, want, r.Stderr)
		}
	}
	if repositoryFiles(u) != repo {
		t.Error("the repository has changed")
	}
}

// rotationSkip leaves a peer behind, which gets back as it says.
func rotationSkip(t *testing.T, u *labtest.Users) {
	r := u.Run(u.Basalt, "wgkeys rotate -y basalt --skip shale")
	if r.Code != 0 || !strings.Contains(r.Stderr, `left behind by the rotation of basalt: "shale"`) ||
		!strings.Contains(r.Stderr, "wgkeys apply shale") {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply shale")
	tunnelIsWhole(u, t)
}

// rotateKilledAt runs a rotation that is killed at a point.
func rotateKilledAt(u *labtest.Users, point, command string) {
	u.Helper()
	u.Write(u.Basalt, faulttest.FaultFile, "kill "+point)
	u.Run(u.Basalt, command)
	u.Must(u.Basalt, "rm "+faulttest.HitFile)
}

// rotationBehind: a clone has a next key that was in use since, and was stolen since.
// It does not bring it back.
func rotationBehind(t *testing.T, u *labtest.Users) {
	rotateKilledAt(u, "after controller: push", "wgkeys rotate -y basalt")
	u.Must(u.Basalt, "cp -a /root/net /root/clone && wgkeys rotate -y basalt")
	stolen := publicKeyOf(u, "basalt")
	u.Must(u.Basalt, "wgkeys rotate -y basalt")
	r := u.Run(u.Basalt, "wgkeys rotate -y -C /root/clone basalt")
	if r.Code != ui.ExitFailed ||
		!strings.Contains(r.Stderr, `this repository does not know the key in use on host "basalt"`) ||
		!strings.Contains(r.Stderr, "hint: in /root/clone: work in the newest copy of the repository") { // not in git
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if live := u.Must(u.Basalt, "wg show wg0 public-key"); strings.Contains(live, stolen) {
		t.Error("the key that was replaced is back")
	}
	tunnelIsWhole(u, t)
	u.Must(u.Basalt, "rm -r /root/clone && cp -a /root/net /root/clone && wgkeys rotate -y basalt && wgkeys rotate -y --unknown -C /root/clone basalt")
	u.Must(u.Basalt, "rm -r /root/net && mv /root/clone /root/net")
	tunnelIsWhole(u, t)
}

// rotationOnHostSealed: a next key from the vault is not one that the host has made.
func rotationOnHostSealed(t *testing.T, u *labtest.Users) {
	rotateKilledAt(u, "after controller: push", "wgkeys rotate -y shale")
	repo := repositoryFiles(u)
	r := u.Run(u.Basalt, "wgkeys rotate -y --on-host shale")
	if r.Code != ui.ExitFailed ||
		!strings.Contains(r.Stderr, `a rotation with a key from the vault is under way on host "shale"`) ||
		repositoryFiles(u) != repo {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys rotate -y shale")
	tunnelIsWhole(u, t)
}

// rotationKeyFileIsALink: the old key would stay where the link leads to.
func rotationKeyFileIsALink(t *testing.T, u *labtest.Users) {
	u.Must(u.Shale, "mv /etc/wireguard/wg0.key /etc/wireguard/real.key && ln -s real.key /etc/wireguard/wg0.key")
	r := u.Run(u.Basalt, "wgkeys rotate -y shale")
	u.Must(u.Shale, "mv /etc/wireguard/real.key /etc/wireguard/wg0.key")
	if r.Code != ui.ExitFailed ||
		!strings.Contains(r.Stderr, `cannot replace key file "/etc/wireguard/wg0.key": it is no regular file`) {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys rotate -y shale")
	tunnelIsWhole(u, t)
}
