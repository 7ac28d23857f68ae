package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// left are the temporary files in the folders of all hosts.
func (x *team) left(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(x.Dir, "*", ".*"))
	if err != nil {
		t.Error(err)
	}
	return paths
}

// TestRekeyKeepsChanges: a file that somebody writes after it was read is his.
func TestRekeyKeepsChanges(t *testing.T) {
	x := newTeam(t)
	x.recipients(t, x.aliceIs, x.bobIs)
	stale := x.outdated(t)
	theirs := forge(t, x.Vault, Meta{Host: "shale", File: "wg0.key", PublicKey: x.key.PublicKey()}, x.key.File())
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want, Step: func(done, all int) {
		if done == all/2 { // everything is read, nothing is written
			writeFile(t, x.Path("shale", "wg0.key"), theirs)
		}
	}}
	did, err := r.Run(t.Context(), stale)
	if err == nil || !strings.Contains(err.Error(), x.Path("shale", "wg0.key")+`": it was changed in the meantime`) ||
		len(did) != 4 {
		t.Errorf("%d files, %v", len(did), err)
	}
	if readTestFile(t, x.Path("shale", "wg0.key")) != theirs {
		t.Error("the change is lost")
	}
	x.opens(t, x.bob)
}

// TestRekeyInTheWay: what is no temporary file of ours stays, whatever its name, and
// keeps nothing but its own file from being encrypted again.
func TestRekeyInTheWay(t *testing.T) {
	for kind, put := range map[string]func(path string) error{
		"a folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"a FIFO":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link":   func(path string) error { return os.Symlink("/nowhere", path) },
	} {
		x := newTeam(t)
		way := filepath.Join(x.Dir, "shale", ".wg0.key.age.replacing")
		if err := put(way); err != nil {
			t.Fatal(err)
		}
		was, err := os.Lstat(way)
		if err != nil {
			t.Fatal(err)
		}
		x.recipients(t, x.aliceIs, x.bobIs)
		stale := x.outdated(t)
		did, err := x.rekey(x.alice, stale)
		if f, ok := errors.AsType[*fault.Fault](err); !ok || f.File != way || len(did) != len(stale)-1 {
			t.Errorf("%s: %d files, %v", kind, len(did), err)
		}
		if is, err := os.Lstat(way); err != nil || !os.SameFile(is, was) {
			t.Errorf("%s: it is gone: %v", kind, err)
		}
		x.opens(t, x.alice)
		if err := os.Remove(way); err != nil {
			t.Fatal(err)
		}
		if _, err := x.rekey(x.alice, x.outdated(t)); err != nil {
			t.Errorf("%s: the next one: %v", kind, err)
		}
		x.opens(t, x.bob)
	}
}

// TestRekeyFlushes: no file is replaced before the new one is on disk, and in the end
// the renames are. A disk that fails leaves the old files.
func TestRekeyFlushes(t *testing.T) {
	x := newTeam(t)
	x.recipients(t, x.aliceIs, x.bobIs)
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want}
	r.flush = func(_ *os.File, hint string) error {
		return fault.New("the disk is broken", "", "", hint)
	}
	stale := x.outdated(t)
	if did, err := r.Run(t.Context(), stale); err == nil || err.Error() != "the disk is broken" || len(did) != 0 ||
		len(x.left(t)) != 0 {
		t.Errorf("%d files, %v, left: %q", len(did), err, x.left(t))
	}
	x.opens(t, x.alice)

	var flushed, last []string
	r.flush = func(*os.File, string) error {
		last = x.left(t)
		flushed = append(flushed, last...)
		return nil
	}
	did, err := r.Run(t.Context(), x.outdated(t))
	if err != nil || len(did) != len(stale) {
		t.Errorf("%d files, %v", len(did), err)
	}
	for _, s := range did {
		if !slices.Contains(flushed, files.Staged(x.Path(s.Host, s.File))) {
			t.Errorf("%s %s was replaced before the new file was on disk", s.Host, s.File)
		}
	}
	if len(last) != 0 {
		t.Error("nothing was brought to the disk after the last rename")
	}
	x.opens(t, x.bob)
}

// TestRekeyStops: whoever ends it by a signal has all files, old or new.
func TestRekeyStops(t *testing.T) {
	for at := 1; at <= 10; at++ {
		x := newTeam(t)
		x.recipients(t, x.aliceIs, x.bobIs)
		ctx, cancel := context.WithCancel(t.Context())
		r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want, Step: func(done, _ int) {
			if done == at {
				cancel()
			}
		}}
		if _, err := r.Run(ctx, x.outdated(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", at, err)
		}
		x.opens(t, x.alice)
		if _, err := x.rekey(x.alice, x.outdated(t)); err != nil {
			t.Errorf("the next one: %v", err)
		}
		x.opens(t, x.bob)
	}
}

// TestRekeyMeanwhile: what is staged is swapped while others are not encrypted yet.
// Whoever interrupts it then has files of both kinds, and all open.
func TestRekeyMeanwhile(t *testing.T) {
	x := newTeam(t)
	keys := map[string]keyring.PrivateKey{}
	for i := range 2 * writers {
		host := fmt.Sprintf("h%02d", i)
		keys[host] = sealKey(t, x.Vault, host, "wg0.key")
	}
	x.recipients(t, x.aliceIs, x.bobIs)
	stale, err := x.Outdated(t.Context(), slices.Sorted(maps.Keys(keys)))
	if err != nil || len(stale) != len(keys) {
		t.Fatalf("%d files, %v", len(stale), err)
	}
	opens := func(ids *Identities) int { return opensKeys(x.Vault, ids, keys) }
	ctx, cancel := context.WithCancel(t.Context())
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: func(n Name) (Expected, error) {
		return Expected{PublicKey: keys[n.Host].PublicKey()}, nil
	}}
	r.Step = func(done, all int) { // no more than writers files can be staged before it returns
		if done == all/2+1 && !within(time.Minute, func() bool { return opens(x.bob) > 0 }) {
			t.Error("nothing is swapped before all is encrypted")
		}
		if done > all/2 {
			cancel()
		}
	}
	did, err := r.Run(ctx, stale)
	if some := 0 < len(did) && len(did) < len(keys); !errors.Is(err, context.Canceled) || !some {
		t.Errorf("%d files, %v", len(did), err)
	}
	if a, b := opens(x.alice), opens(x.bob); a != len(keys) || b != len(did) {
		t.Errorf("alice opens %d files, bob %d; %d were replaced", a, b, len(did))
	}
	if left := x.left(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	r.Step, r.done = nil, 0
	x.finishes(t, r, keys, len(keys)-len(did))
}

// finishes fails if the next run does not encrypt the files that are left, so that bob
// opens all.
func (x *team) finishes(t *testing.T, r *Rekey, keys map[string]keyring.PrivateKey, left int) {
	t.Helper()
	stale, err := x.Outdated(t.Context(), slices.Sorted(maps.Keys(keys)))
	if err != nil || len(stale) != left {
		t.Errorf("%d files, %v", len(stale), err)
	}
	if _, err := r.Run(t.Context(), stale); err != nil || opensKeys(x.Vault, x.bob, keys) != len(keys) {
		t.Errorf("the next one: %v", err)
	}
}

// opensKeys tells how many of the hosts' keys somebody can open.
func opensKeys(v Vault, ids *Identities, keys map[string]keyring.PrivateKey) (n int) {
	for host, k := range keys {
		if _, err := v.OpenKey(host, "wg0.key", k.PublicKey(), ids); err == nil {
			n++
		}
	}
	return n
}

// within waits until something is so.
func within(d time.Duration, isSo func() bool) bool {
	for end := time.Now().Add(d); !isSo(); {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// TestRekeyGivesUp: where somebody has changed all files in the meantime it does not
// name each of them, and leaves nothing behind.
func TestRekeyGivesUp(t *testing.T) {
	x := newTeam(t)
	var hosts []string
	for i := range 5 * writers {
		hosts = append(hosts, fmt.Sprintf("h%02d", i))
		if err := x.SealPSK(hosts[i], "wg0.shale.psk", x.psk, made); err != nil {
			t.Fatal(err)
		}
	}
	x.recipients(t, x.aliceIs, x.bobIs)
	stale, err := x.Outdated(t.Context(), hosts)
	if err != nil || len(stale) != len(hosts) {
		t.Fatalf("%d files, %v", len(stale), err)
	}
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: func(Name) (Expected, error) {
		return Expected{PSK: x.psk.Fingerprint()}, nil
	}}
	r.Step = func(done, all int) {
		for i := 0; done == all/2 && i < len(hosts); i++ {
			writeFile(t, x.Path(hosts[i], "wg0.shale.psk"), "theirs")
		}
	}
	did, err := r.Run(t.Context(), stale)
	if n := strings.Count(fmt.Sprint(err), "it was changed in the meantime"); len(did) != 0 || n < maxErrors ||
		n > 2*maxErrors+writers {
		t.Errorf("%d files, %d errors: %v", len(did), n, err)
	}
	for _, host := range hosts {
		if readTestFile(t, x.Path(host, "wg0.shale.psk")) != "theirs" {
			t.Errorf("%s: the change is lost", host)
		}
	}
	if left := x.left(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
