package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// An apply over ssh through the tunnel itself that cuts the tunnel: shale goes
// back by itself and is reached through the tunnel again; with make lockout within the time
// to confirm and five seconds.
func TestLabConfirmLockOut(t *testing.T) {
	u := labtest.NewUsers(t)
	through := strings.Replace(defaultRouteTunnel, "root@93.93.130.7", "root@10.7.0.1", 1)
	u.Tunnel(defaultRouteTunnel)
	u.Must(u.Basalt, "wgkeys apply shale && wgkeys apply")
	if err := u.Trust(t.Context(), u.Basalt, u.Shale); err != nil { // by its INSIDE address too
		t.Fatal(err)
	}
	const confirm = 3 * time.Second
	runs, limit := 2, labtest.Patience
	if long("lockout") { // on an idle machine
		runs, limit = 20, 5*time.Second
	}
	for run := range runs {
		u.Tunnel(strings.Replace(through, "10.7.0.2/24", fmt.Sprintf("10.7.0.%d/24", 100+run), 1))
		begin := time.Now()
		r := u.Run(u.Basalt, "wgkeys apply shale --confirm "+confirm.String())
		// The new connection cannot be made at all, or comes once all is undone.
		if r.Code != 1 || !strings.Contains(r.Stderr, "undoes it by itself") && !strings.Contains(r.Stderr, "it was undone") {
			t.Fatalf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		u.Tunnel(through)
		for deadline := begin.Add(confirm + limit); ; time.Sleep(50 * time.Millisecond) {
			if r := u.Run(u.Basalt, "ssh -o ConnectTimeout=1 root@10.7.0.1 true"); r.Code == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("run %d: not reached again within %v", run, time.Since(begin))
			}
		}
		t.Logf("run %d: reached again after %v", run, time.Since(begin).Round(10*time.Millisecond))
		if out := u.Must(u.Basalt, "wgkeys plan shale"); out != "" {
			t.Errorf("shale is not as it was:\n%s", out)
		}
	}
}

// neverConfirmed are applies that nobody confirms, by what is killed meanwhile. WAIT is the
// time to confirm.
var neverConfirmed = []struct {
	victim, command string
	unfinished      bool // the apply does not get to its end
}{
	{"nobody", "wgkeys apply --confirm WAIT", false},
	{"the first guard", "wgkeys apply --confirm WAIT && pkill -KILL -f '^wgkeys-guard wg0 0'", false},
	{"the second guard", "wgkeys apply --confirm WAIT && pkill -KILL -f '^wgkeys-guard wg0 1'", false},
	// One that is killed second may have begun to raise the first again.
	{"both guards", "wgkeys apply --confirm WAIT && while pkill -KILL -f '^wgkeys-guard wg0'; do sleep 0.1; done", false},
	{"the apply itself", "WGKEYS_TEST_FAULT='kill-after 3' wgkeys apply --confirm WAIT || true", true},
	{"what undoes it", "! WGKEYS_TEST_FAULT='fail-from 3' wgkeys apply --confirm WAIT", true},
}

// Whichever process is killed, the apply that nobody confirms is undone: by the
// guards, or if both are killed by the next command that changes the tunnel.
func TestLabConfirmNever(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	before := u.Snapshot(u.Shale)
	for _, n := range neverConfirmed {
		t.Run(strings.ReplaceAll(n.victim, " ", "-"), func(t *testing.T) {
			u := u.With(t)
			confirm := 2 * time.Second
			for ; !waitsToBeConfirmed(u, n.command, n.unfinished, confirm); confirm *= 2 {
				u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
				u.Must(u.Shale, "wgkeys down")
			}
			if n.victim == "both guards" {
				time.Sleep(confirm + 500*time.Millisecond)
				if r := u.Run(u.Shale, "wgkeys plan"); !strings.Contains(r.Stderr, "was not confirmed in time") {
					t.Errorf("plan does not tell: %s", r.Stderr)
				}
				u.Must(u.Shale, "wgkeys apply && wgkeys down")
			}
			u.Eventually(func() bool { return demo.LineDiff(before, u.Snapshot(u.Shale)) == "" })
			u.Same(u.Shale, before, "after the time to confirm")
			u.Eventually(func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys-guard'").Code != 0 })
			if out := u.Run(u.Shale, "pgrep -af '^wgkeys-guard'").Stdout; out != "" {
				t.Errorf("a guard is left: %s", out)
			}
			forRootAlone(u)
		})
	}
}

// waitsToBeConfirmed has an apply that waits to be confirmed, and looks whether others refuse to go on
// meanwhile. It reports false where the machine was too slow to ask them within that time.
func waitsToBeConfirmed(u *labtest.Users, command string, unfinished bool, confirm time.Duration) bool {
	u.Helper()
	ask, want := []string{"wgkeys apply"},
		`an apply waits to be confirmed on tunnel "wg0": it may be somebody else's, and is reverted in`
	if unfinished {
		ask, want = []string{"wgkeys confirm", "wgkeys apply"}, "did not get to its end"
	}
	begin := time.Now()
	first := u.Run(u.Shale, strings.ReplaceAll(command, "WAIT", confirm.String()))
	var got []labtest.Result
	for _, verb := range ask {
		got = append(got, u.Run(u.Shale, verb))
	}
	if time.Since(begin) > confirm {
		return false
	}
	if first.Code != 0 {
		u.Errorf("%s: exit %d\n%s", command, first.Code, first.Stderr)
	}
	for i, r := range got {
		if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, want) {
			u.Errorf("%s, %s: exit %d, not refused\n%s", command, ask[i], r.Code, r.Stderr)
		}
	}
	return true
}

func TestLabConfirm(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply --confirm 60s --token ONE; wgkeys confirm --token ONE")
	forRootAlone(u)
	u.Until("the guards to end", func() bool { return u.Run(u.Shale, "pgrep -f '^wgkeys-guard'").Code != 0 })
	if out := u.Must(u.Shale, "wgkeys plan"); out != "" {
		t.Errorf("a confirmed apply was undone:\n%s", out)
	}
	// Now the one before is a tunnel, not nothing.
	kept := u.Snapshot(u.Shale)
	u.Tunnel(strings.Replace(demo.FirstTunnel, "[hosts.basalt]",
		"[hosts.shale.peer.basalt]\nkeepalive = 9\n[hosts.basalt]", 1))
	u.Clone()
	applyWaits(u, u.Shale, "wgkeys apply --confirm WAIT", func() bool {
		return strings.Contains(u.Must(u.Shale, "wg show wg0 persistent-keepalive"), "9")
	})
	u.Eventually(func() bool {
		return strings.Contains(u.Must(u.Shale, "wg show wg0 persistent-keepalive"), "off")
	})
	u.Same(u.Shale, kept, "after the change was undone")
	confirmTooLate(u)
	u.Must(u.Shale, "wgkeys down")
	u.Same(u.Shale, before, "after down")
}

// confirmTooLate has a confirm after the apply was undone fail, which nothing else would tell
// who typed it, and succeed once there was another apply.
func confirmTooLate(u *labtest.Users) {
	u.Helper()
	u.Until("the undone apply to be noted", func() bool {
		return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0
	})
	for range 2 {
		r := u.Run(u.Shale, "wgkeys confirm")
		if want := `too late to confirm the apply on tunnel "wg0": it was undone`; r.Code != ui.ExitFailed ||
			!strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "hint: wgkeys apply") {
			u.Errorf("confirm of an apply that was undone: exit %d\n%s", r.Code, r.Stderr)
		}
	}
	u.Must(u.Shale, "wgkeys apply")
	if r := u.Run(u.Shale, "wgkeys confirm"); r.Code != ui.ExitDone || !strings.Contains(r.Stderr, "nothing waits") {
		u.Errorf("confirm after another apply: exit %d\n%s", r.Code, r.Stderr)
	}
}

// applyWaits has an apply that waits to be confirmed for as long as it takes to see, on this
// machine, that it has done its work.
func applyWaits(u *labtest.Users, h *lab.Host, command string, done func() bool) {
	u.Helper()
	for wait := time.Second; wait <= time.Minute; wait *= 2 {
		u.Must(h, strings.ReplaceAll(command, "WAIT", wait.String()))
		if done() {
			return
		}
		u.Until("the apply to be undone", func() bool { return u.Run(h, "test -e /run/wgkeys/wg0.pending").Code != 0 })
	}
	u.Fatalf("%s: the change was not applied", command)
}

// forRootAlone: nobody else reads how things were, nor what was decided.
func forRootAlone(u *labtest.Users) {
	u.Helper()
	all := u.Must(u.Shale, "find /run/wgkeys -type f")
	if open := u.Must(u.Shale, "find /run/wgkeys -type f -perm /077"); open != "" || all == "" {
		u.Errorf("of the files\n%sthese are for all to read:\n%s", all, open)
	}
}

// A view with a named endpoint comes back with the address that the name had,
// also where names cannot be looked up any more; and a tunnel without a kept
// view is not taken for nothing.
func TestLabConfirmRevertsNames(t *testing.T) {
	u := labtest.NewUsers(t)
	named := strings.Replace(demo.FirstTunnel, `"93.93.130.7"            # OUTSIDE`, `"shale.example"`+" # OUTSIDE", 1)
	u.Must(u.Basalt, "echo '"+demo.ShaleAddr+" shale.example' >> /etc/hosts")
	u.Tunnel(named)
	u.Must(u.Basalt, "wgkeys apply")
	was := u.Must(u.Basalt, "wg show wg0 endpoints")
	u.Tunnel(strings.Replace(named, `"shale.example"`, `"192.0.2.77"`, 1))
	applyWaits(u, u.Basalt, "wgkeys apply --confirm WAIT && sed -i /shale.example/d /etc/hosts", func() bool {
		return u.Must(u.Basalt, "wg show wg0 endpoints") != was
	})
	u.Eventually(func() bool { return u.Run(u.Basalt, "test -e /run/wgkeys/wg0.pending").Code != 0 })
	if now := u.Must(u.Basalt, "wg show wg0 endpoints"); now != was {
		t.Errorf("after the change was undone the endpoint is\n%snot\n%s", now, was)
	}
	u.Must(u.Basalt, "rm /etc/wgkeys/wg0.view")
	r := u.Run(u.Basalt, "wgkeys apply --confirm 1s")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "nothing to go back to") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
}

// An apply that is undone brings back the preshared key that the kernel had, where
// the key file holds another by now and where it is gone.
func TestLabConfirmRevertsPresharedKey(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	with := strings.Replace(demo.FirstTunnel, "[hosts.basalt]", "psk       = true\n\n[hosts.basalt]", 1)
	apply := func(tunnel, command string) {
		u.Tunnel(tunnel)
		u.Clone()
		u.Must(u.Shale, command)
	}
	const fresh = "(umask 077; wg genpsk >/etc/wireguard/wg0.basalt.psk)"
	apply(with, fresh+" && wgkeys apply")
	was := u.Must(u.Shale, "wg show wg0 preshared-keys")
	// Who starts a killed guard again sees the new keys, not those of before.
	for _, guard := range []string{"0", "1"} {
		apply(with, fresh+" && wgkeys apply --confirm 2s; pkill -KILL -f '^wgkeys-guard wg0 "+guard+"' || true")
		u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
		if u.Must(u.Shale, "wg show wg0 preshared-keys") != was {
			t.Errorf("guard %s was killed: the preshared key is another", guard)
		}
	}
	for tunnel, files := range map[string]string{with: fresh, demo.FirstTunnel: "rm -f /etc/wireguard/wg0.basalt.psk"} {
		u.Tunnel(tunnel)
		u.Clone()
		applyWaits(u, u.Shale, files+" && wgkeys apply --confirm WAIT", func() bool {
			return u.Must(u.Shale, "wg show wg0 preshared-keys") != was
		})
		u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
		if u.Must(u.Shale, "wg show wg0 preshared-keys") != was {
			t.Errorf("%s: after the apply was undone the preshared key is another", files)
		}
	}
}

// An apply that takes longer than its time to be confirmed still has its guards when that
// begins.
func TestLabConfirmShort(t *testing.T) {
	u := labtest.NewUsers(t)
	before := u.Snapshot(u.Shale)
	for range 5 {
		u.Must(u.Shale, "wgkeys apply --confirm 20ms")
		u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
		u.Same(u.Shale, before, "after the time to confirm")
	}
}

// Each apply has guards of its own: those of the one before, which was confirmed a moment
// ago, do not stay for it with the preshared keys that they know.
func TestLabConfirmInARow(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Tunnel(strings.Replace(demo.FirstTunnel, "[hosts.basalt]", "psk       = true\n\n[hosts.basalt]", 1))
	u.Clone()
	const fresh = "(umask 077; wg genpsk >/etc/wireguard/wg0.basalt.psk)"
	u.Must(u.Shale, fresh+" && wgkeys apply")
	// The guards are stopped while they would see that they are not needed any more.
	u.Must(u.Shale, fresh+" && wgkeys apply --confirm 60s && pkill -STOP -f '^wgkeys-guard' && wgkeys confirm")
	was := u.Must(u.Shale, "wg show wg0 preshared-keys")
	u.Must(u.Shale, "(sleep 0.3; pkill -CONT -f '^wgkeys-guard') & "+fresh+" && wgkeys apply --confirm 2s")
	u.Must(u.Shale, "pkill -KILL -f '^wgkeys-guard wg0 1' || true") // a slow machine has undone it by now
	u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
	if now := u.Must(u.Shale, "wg show wg0 preshared-keys"); now != was {
		t.Errorf("the preshared keys are not those of before the apply")
	}
}

// What a host says to run is said here so that it can be run here.
func TestLabConfirmAdvice(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Shale, "wgkeys apply --confirm 60s")
	r := u.Run(u.Basalt, "wgkeys apply shale")
	hint := regexp.MustCompile(`(?m)^wgkeys: hint: (wgkeys confirm .*?)(, or .*)?$`).FindStringSubmatch(r.Stderr)
	if r.Code != ui.ExitFailed || hint == nil {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Basalt, hint[1])
	if out := u.Run(u.Shale, "ls /run/wgkeys/wg0.pending"); out.Code == 0 {
		t.Errorf("%s: the apply still waits", hint[1])
	}
}

// Guards that stand still when their time comes are not taken for killed ones: the next
// command leaves the revert to them, since it does not have the preshared keys from before,
// and nobody confirms any more.
func TestLabConfirmSlowGuards(t *testing.T) {
	t.Parallel() // it waits most of the time
	u := labtest.NewUsers(t)
	with := strings.Replace(demo.FirstTunnel, "[hosts.basalt]", "psk       = true\n\n[hosts.basalt]", 1)
	u.Tunnel(with)
	u.Clone()
	const fresh = "(umask 077; wg genpsk >/etc/wireguard/wg0.basalt.psk)"
	u.Must(u.Shale, fresh+" && wgkeys apply")
	slow := func(command string) (labtest.Result, bool) {
		was := u.Must(u.Shale, "wg show wg0 preshared-keys")
		const stopped = " && wgkeys apply --confirm %ds && pkill -STOP -f '^wgkeys-guard' && test -e /run/wgkeys/wg0.pending"
		seconds := 2
		for u.Run(u.Shale, fresh+fmt.Sprintf(stopped, seconds)).Code != 0 { // it was undone before
			seconds *= 2
		}
		u.Must(u.Shale, fmt.Sprintf("sleep %d", seconds))
		r := u.Run(u.Shale, "(sleep 0.5; pkill -CONT -f '^wgkeys-guard') & "+command+"; e=$?; wait; exit $e")
		u.Until("the apply to be undone", func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
		return r, u.Must(u.Shale, "wg show wg0 preshared-keys") == was
	}
	r, undone := slow("wgkeys confirm")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "too late") || !undone {
		t.Errorf("confirm: exit %d, undone %v\n%s", r.Code, undone, r.Stderr)
	}
	r, _ = slow("wgkeys apply")
	if r.Code != 0 || !strings.Contains(r.Stderr, "1 step") { // it sets the new preshared key again
		t.Errorf("apply: exit %d\n%s", r.Code, r.Stderr)
	}
}

// The file of the pending apply is damaged, or its token is another's.
func TestLabConfirmRefuses(t *testing.T) {
	u := labtest.NewUsers(t)
	before := u.Snapshot(u.Shale)
	r := u.Run(u.Shale, "wgkeys confirm -t wg0 --token NONE")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "it was not begun, or not finished") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Shale, "wgkeys apply --confirm 20s && echo damaged > /run/wgkeys/wg0.pending")
	u.Eventually(func() bool { return u.Run(u.Shale, "test -e /run/wgkeys/wg0.pending").Code != 0 })
	u.Same(u.Shale, before, "after the pending apply's file was damaged")
	r = u.Run(u.Shale, "wgkeys apply --confirm 60s --token ONE; wgkeys confirm --token TWO")
	if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "hint: wgkeys plan -t wg0") {
		t.Errorf("the apply of another command: exit %d\n%s", r.Code, r.Stderr)
	}
	u.Must(u.Shale, "wgkeys confirm --token ONE")
}
