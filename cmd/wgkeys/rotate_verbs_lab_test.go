package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// rotationTests are what a person does about rotations; the hosts are shared, and
// each begins with the tunnel up.
var rotationTests = []struct {
	name string
	run  func(*testing.T, *users)
}{
	{"Status", rotationStatus},
	{"DryRun", rotationDryRun},
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
	{"BehindStolen", rotationBehindStolen},
}

func TestLabRotateVerbs(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := newUsers(t)
	for _, l := range rotationTests {
		t.Run(l.name, func(t *testing.T) {
			u := u.with(t)
			u.must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale")
			l.run(t, u)
		})
	}
}

func (u *users) pub(host string) string {
	return strings.TrimSpace(u.read(u.Basalt, "/root/net/keyring/"+host+"/wg0.pub"))
}

func rotationStatus(t *testing.T, u *users) {
	out := u.must(u.Basalt, "wgkeys status")
	for _, want := range []string{"basalt wg0: key " + u.pub("basalt"), "  shale  ", "shale wg0: key ", "at 93.93.130.7:30567 OUTSIDE"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	u.must(u.Shale, "ip link set wg0 mtu 1300")
	r := u.run(u.Basalt, "wgkeys status shale")
	if r.code != ui.ExitFindings || !strings.Contains(r.stdout, "! 1 of its settings differ from the tunnel file: wgkeys plan shale") {
		t.Errorf("drift: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.must(u.Shale, "wgkeys down --host shale")
	r = u.run(u.Basalt, "wgkeys status --json shale")
	var all []remote.HostStatus
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || r.code != ui.ExitFindings || len(all) != 1 ||
		!strings.Contains(strings.Join(all[0].Findings, ";"), "the tunnel is not up: wgkeys apply shale") {
		t.Errorf("down: exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
}

// repository is all that git would see.
func (u *users) repository() string {
	return u.must(u.Basalt, "find keyring vault tunnels -type f | sort | xargs sha256sum")
}

func rotationDryRun(t *testing.T, u *users) {
	repo, here, there := u.repository(), u.snapshot(u.Basalt), u.snapshot(u.Shale)
	r := u.run(u.Basalt, "wgkeys rotate -n --json")
	if r.code != ui.ExitFindings || !strings.Contains(r.stdout, `"phase":"plan"`) {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if u.repository() != repo {
		t.Error("the repository has changed")
	}
	u.same(u.Basalt, here, "after a dry run")
	u.same(u.Shale, there, "after a dry run")
}

// rotationCannotHold: where no packets can be held before the device, the plan says so,
// and why.
func rotationCannotHold(t *testing.T, u *users) {
	const note = "cannot buffer packets during the switch: bursts over 128 will drop"
	if r := u.run(u.Basalt, "wgkeys rotate -n basalt"); strings.Contains(r.stderr, note) {
		t.Errorf("said where they can be held:\n%s", r.stderr)
	}
	if lab.HasWireGuard() {
		return // its kernel holds them, whatever becomes of the device
	}
	u.must(u.Shale, "mv /run/wgkeys/wg0.hold /run/wgkeys/gone")
	r := u.run(u.Basalt, "wgkeys rotate -n basalt")
	u.must(u.Shale, "mv /run/wgkeys/gone /run/wgkeys/wg0.hold")
	if r.code != ui.ExitFindings || !strings.Contains(r.stderr, "note: shale (nf") || !strings.Contains(r.stderr, note) {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
}

// rotationAsks: without a terminal nothing is assumed.
func rotationAsks(t *testing.T, u *users) {
	repo := u.repository()
	r := u.run(u.Basalt, "setsid wgkeys rotate basalt </dev/null")
	if r.code != ui.ExitUsage || !strings.Contains(r.stderr, "basalt wg0: gets a new key; shale will follow") || !strings.Contains(r.stderr, "-y answers yes") {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	if u.repository() != repo {
		t.Error("the repository has changed")
	}
}

func rotationEvents(t *testing.T, u *users) {
	old := u.pub("basalt")
	var phases []string
	for line := range strings.Lines(u.must(u.Basalt, "wgkeys rotate -y --json basalt")) {
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
	if u.pub("basalt") == old {
		t.Error("the key is the old one")
	}
	u.whole(t)
}

// whole: nothing is left of a rotation, and an apply has nothing to do.
func (u *users) whole(t *testing.T) {
	t.Helper()
	if left := u.must(u.Basalt, "find keyring vault /etc/wireguard -name '*next*'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		if r := u.run(u.Basalt, "wgkeys plan "+h.Name()); r.code != 0 {
			t.Errorf("plan %s: exit %d\n%s%s", h.Name(), r.code, r.stdout, r.stderr)
		}
		peers := strings.Fields(u.must(h, "wg show wg0 peers"))
		if len(peers) != 1 {
			t.Errorf("%s has peers %v", h.Name(), peers)
		}
	}
	if r := u.run(u.Basalt, "wgkeys check"); r.code != 0 {
		t.Errorf("check: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// rotationOnHost: shale makes its key itself, and goes back to the vault's.
func rotationOnHost(t *testing.T, u *users) {
	old := u.pub("shale")
	u.must(u.Basalt, "wgkeys rotate -y --on-host shale")
	if u.pub("shale") == old {
		t.Error("the key is the old one")
	}
	if left := u.must(u.Basalt, "ls vault/shale"); left != "" {
		t.Errorf("in the vault: %s", left)
	}
	own := u.pub("shale")
	u.must(u.Basalt, "wgkeys rotate -y shale") // keeps to what it is
	if left := u.must(u.Basalt, "ls vault/shale"); left != "" || u.pub("shale") == own {
		t.Errorf("in the vault: %s", left)
	}
	u.must(u.Basalt, "wgkeys push shale && wgkeys apply shale")
	u.must(u.Basalt, "wgkeys down basalt; wgkeys down shale; rm keyring/shale/wg0.pub; rm -f vault/shale/*")
	u.must(u.Shale, "rm /etc/wireguard/wg0.key")
	u.must(u.Basalt, "wgkeys gen --on-host shale")
	u.must(u.Basalt, "wgkeys apply basalt && wgkeys apply shale && wgkeys status")
	u.must(u.Basalt, "wgkeys down basalt; wgkeys down shale; rm keyring/shale/wg0.pub && wgkeys gen shale && wgkeys push --unknown shale && wgkeys apply shale && wgkeys apply basalt")
	u.whole(t)
}

func rotationDue(t *testing.T, u *users) {
	if r := u.run(u.Basalt, "wgkeys rotate -y --due"); r.code != ui.ExitUsage || !strings.Contains(r.stderr, `max_key_age = "365d"`) {
		t.Errorf("without max_key_age: exit %d\n%s", r.code, r.stderr)
	}
	settings := u.read(u.Basalt, "/root/net/wgkeys.toml")
	defer u.write(u.Basalt, "/root/net/wgkeys.toml", settings)
	old := u.pub("basalt")
	u.write(u.Basalt, "/root/net/wgkeys.toml", settings+"\nmax_key_age = \"365d\"\n")
	if r := u.run(u.Basalt, "wgkeys rotate -y --due"); r.code != 0 || !strings.Contains(r.stderr, "nothing to do: no key is due") {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	time.Sleep(1100 * time.Millisecond)
	u.write(u.Basalt, "/root/net/wgkeys.toml", settings+"\nmax_key_age = \"1s\"\n")
	u.must(u.Basalt, "wgkeys rotate -y --due")
	if u.pub("basalt") == old {
		t.Error("the key is the old one")
	}
}

// rotationUnreachable: a peer that is not there is named, and nothing changes.
func rotationUnreachable(t *testing.T, u *users) {
	repo := u.repository()
	u.must(u.Shale, "mv /usr/local/bin/wgkeys /usr/local/bin/wgkeys.gone")
	defer u.must(u.Shale, "mv /usr/local/bin/wgkeys.gone /usr/local/bin/wgkeys")
	r := u.run(u.Basalt, "wgkeys rotate -y basalt")
	for _, want := range []string{`will not rotate the key of basalt: no answer from peer "shale"`, "it is not installed there", "--skip shale"} {
		if r.code != ui.ExitFailed || !strings.Contains(r.stderr, want) {
			t.Errorf("exit %d, want %q\n%s", r.code, want, r.stderr)
		}
	}
	if u.repository() != repo {
		t.Error("the repository has changed")
	}
}

// rotationSkip leaves a peer behind, which gets back as it says.
func rotationSkip(t *testing.T, u *users) {
	r := u.run(u.Basalt, "wgkeys rotate -y basalt --skip shale")
	if r.code != 0 || !strings.Contains(r.stderr, `left behind by the rotation of basalt: "shale"`) || !strings.Contains(r.stderr, "wgkeys apply shale") {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	u.must(u.Basalt, "wgkeys apply shale")
	u.whole(t)
}

// killedAt runs a rotation that is killed at a point.
func (u *users) killedAt(point, command string) {
	u.t.Helper()
	u.write(u.Basalt, faultFile, "kill "+point)
	u.run(u.Basalt, command)
	u.must(u.Basalt, "rm "+hitFile)
}

// rotationBehind: a clone has a next key that was in use since, and was stolen since.
// It does not bring it back.
func rotationBehind(t *testing.T, u *users) {
	u.killedAt("after controller: push", "wgkeys rotate -y basalt")
	u.must(u.Basalt, "cp -a /root/net /root/clone && wgkeys rotate -y basalt")
	stolen := u.pub("basalt")
	u.must(u.Basalt, "wgkeys rotate -y basalt")
	r := u.run(u.Basalt, "wgkeys rotate -y -C /root/clone basalt")
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, `this repository does not know the key in use on host "basalt"`) || !strings.Contains(r.stderr, "hint: in /root/clone: git pull") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if live := u.must(u.Basalt, "wg show wg0 public-key"); strings.Contains(live, stolen) {
		t.Error("the key that was replaced is back")
	}
	u.whole(t)
	u.must(u.Basalt, "rm -r /root/clone && cp -a /root/net /root/clone && wgkeys rotate -y basalt && wgkeys rotate -y --unknown -C /root/clone basalt")
	u.must(u.Basalt, "rm -r /root/net && mv /root/clone /root/net")
	u.whole(t)
}

// rotationOnHostSealed: a next key from the vault is not one that the host has made.
func rotationOnHostSealed(t *testing.T, u *users) {
	u.killedAt("after controller: push", "wgkeys rotate -y shale")
	repo := u.repository()
	r := u.run(u.Basalt, "wgkeys rotate -y --on-host shale")
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, `a rotation is under way with a key from the vault, of host "shale"`) || u.repository() != repo {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.must(u.Basalt, "wgkeys rotate -y shale")
	u.whole(t)
}

// rotationKeyFileIsALink: the old key would stay where the link leads to.
func rotationKeyFileIsALink(t *testing.T, u *users) {
	u.must(u.Shale, "mv /etc/wireguard/wg0.key /etc/wireguard/real.key && ln -s real.key /etc/wireguard/wg0.key")
	r := u.run(u.Basalt, "wgkeys rotate -y shale")
	u.must(u.Shale, "mv /etc/wireguard/real.key /etc/wireguard/wg0.key")
	if r.code != ui.ExitFailed || !strings.Contains(r.stderr, `cannot replace key file "/etc/wireguard/wg0.key": it is no regular file`) {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.must(u.Basalt, "wgkeys rotate -y shale")
	u.whole(t)
}
