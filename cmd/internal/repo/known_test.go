package repo

import (
	"os"
	"os/exec"
	"testing"

	"wgkeys/keyring"
)

// TestReplacedSince: whose key was there when the host's present key took the place of
// another one may have the other one; who came later has not.
func TestReplacedSince(t *testing.T) {
	r := newTestRepo(t, "")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.net"}, args...)...)
		cmd.Dir = r.Dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	put := func(host string, n byte) keyring.PublicKey {
		t.Helper()
		key := keyring.PublicKey{n, 7}
		os.Remove(r.Ring.Path(host, "wg0"))
		if err := r.Ring.Put(host, "wg0", key); err != nil {
			t.Fatal(err)
		}
		return key
	}
	commit := func() { t.Helper(); git("add", "-A"); git("commit", "-q", "-m", "keys") }
	// want asks twice, for what is read is read once.
	want := func(when string, key, peer keyring.PublicKey, want bool) {
		t.Helper()
		k := &KeyHistory{Repo: r}
		for range 2 {
			if got := k.ReplacedSince(t.Context(), "wg0", "hub", key, peer); got != want {
				t.Errorf("%s: %v", when, got)
			}
		}
	}
	git("init", "-q")
	hub, early := put("hub", 1), put("early", 2)
	want("nothing is committed", hub, early, false)
	commit()
	want("the first key", hub, early, false)
	hub = put("hub", 3)
	want("replaced, and not committed", hub, early, true)
	commit()
	want("replaced", hub, early, true)
	late := put("late", 4)
	want("a peer that is not committed", hub, late, false)
	commit()
	want("a peer that came later", hub, late, false)
	want("the other peer", hub, early, true)
	hub = put("hub", 5)
	commit()
	want("replaced again", hub, late, true)
	want("a key that nobody knows", keyring.PublicKey{8, 7}, keyring.PublicKey{9, 7}, false)
}
