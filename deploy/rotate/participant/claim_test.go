package participant

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// ownRun gives the test a folder /run of its own.
func ownRun(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		labtest.Missing(t, "only root has /run/wgkeys")
	}
	runtime.LockOSThread() // never given back
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
}

// One run at a time has a host: another one is refused until it gives it back or is
// late. A run switches only while it has it.
func TestClaim(t *testing.T) {
	ownRun(t)
	of := func(run string, within time.Duration) rotate.Request {
		return rotate.Request{Tunnel: "wg0", Host: "basalt", Run: run, Within: within}
	}
	for _, c := range []struct {
		name string
		do   func(rotate.Request) error
		q    rotate.Request
		ok   bool
	}{
		{"nobody has it", unclaimed, of("", 0), true},
		{"nor has the first", switches, of("first", 0), false},
		{"the first takes it", take, of("first", time.Minute), true},
		{"and again", take, of("first", time.Minute), true},
		{"the second does not", take, of("second", time.Minute), false},
		{"nor gives it back", take, of("second", 0), false},
		{"it is seen", unclaimed, of("", 0), false},
		{"the first may switch", switches, of("first", 0), true},
		{"the second may not", switches, of("second", 0), false},
		{"the first gives it back", take, of("first", 0), true},
		{"and may switch no more", switches, of("first", 0), false},
		{"the second takes it for a moment", take, of("second", time.Nanosecond), true},
		{"which is over", switches, of("second", 0), false},
		{"the first takes it again", take, of("first", time.Minute), true},
		{"nobody is no run", take, of("", time.Minute), false},
		{"nor is this a time", take, of("first", -time.Second), false},
	} {
		if err := c.do(c.q); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	late(t, of("slow", time.Minute), of("slow", 0))
	giveBackWhile(t, of("first", 0))
	if err := os.WriteFile(claimPath("wg0"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := take(of("second", time.Minute)); err != nil {
		t.Errorf("after one of another version: %v", err)
	}
}

func switches(q rotate.Request) error {
	_, err := mine(q)
	return err
}

// late: a run that stood still until its claim expired cannot renew it, and one that renews it
// for longer than its watchers wait cannot switch.
func late(t *testing.T, claims, release rotate.Request) {
	if err := errors.Join(take(rotate.Request{Tunnel: "wg0", Run: "first"}), take(claims)); err != nil {
		t.Fatal(err)
	}
	claims.Within = time.Nanosecond // since the claim, which is not the last one
	if err := switches(claims); err == nil {
		t.Error("a run switches whose watchers may have ended")
	}
	claims.Within = time.Minute
	if until, err := mine(claims); err != nil || until > journal.Uptime()+time.Minute {
		t.Errorf("it may begin until %v: %v", until, err)
	}
	if err := take(release); err != nil {
		t.Fatal(err)
	}
	if err := take(claims); err == nil {
		t.Error("a claim that has expired is renewed")
	}
}

// giveBackWhile: what a switch has begun with is not given back, or its peers' watchers
// would be ended.
func giveBackWhile(t *testing.T, q rotate.Request) {
	lock, err := os.Create(lockPath("wg0"))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // a process runs the role
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, isSwitch := range []bool{true, false} {
		if err := writeRecord(&rotate.Record{Tunnel: "wg0", Host: "basalt", Old: keyring.PublicKey{8},
			Next: keyring.PublicKey{9}, Phase: rotate.Armed, Switch: isSwitch}); err != nil {
			t.Fatal(err)
		}
		if err := giveBack(t.Context(), q); (err != nil) != isSwitch {
			t.Errorf("switch %v: %v", isSwitch, err)
		}
	}
}
