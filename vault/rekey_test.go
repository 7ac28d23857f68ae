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

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A team is a vault with keys of two hosts, alice who can open it, and bob.
type team struct {
	Vault
	alice, bob       *Identities
	aliceIs, bobIs   string // as recipients
	key, next, other keyring.PrivateKey
	psk              keyring.PresharedKey
}

func newTeam(t *testing.T) *team {
	t.Helper()
	v, alice := newVault(t, true)
	path := filepath.Join(filepath.Dir(v.Dir), "bob.txt")
	bobIs, err := NewIdentity(path, true, made)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := alice.Recipients()
	if err != nil {
		t.Fatal(err)
	}
	x := &team{Vault: v, alice: alice, bob: FindIdentities(Place{path, "-i", true}), aliceIs: mine[0], bobIs: bobIs, psk: newPSK(t)}
	x.key, x.next, x.other = sealKey(t, v, "shale", "wg0.key"), sealKey(t, v, "shale", "wg0.next.key"), sealKey(t, v, "basalt", "wg0.key")
	for _, n := range []Name{{"shale", "wg0.basalt.psk"}, {"basalt", "wg0.shale.psk"}} {
		if err := v.SealPSK(n.Host, n.File, x.psk, made); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *team) want(n Name) (Half, error) {
	switch n {
	case Name{"shale", "wg0.key"}:
		return Half{PublicKey: x.key.PublicKey()}, nil
	case Name{"shale", "wg0.next.key"}:
		return Half{PublicKey: x.next.PublicKey()}, nil
	case Name{"basalt", "wg0.key"}:
		return Half{PublicKey: x.other.PublicKey()}, nil
	}
	return Half{PSK: x.psk.Fingerprint()}, nil
}

func (x *team) recipients(t *testing.T, lines ...string) {
	t.Helper()
	writeFile(t, filepath.Join(x.Dir, recipientsFile), strings.Join(lines, "\n")+"\n")
}

func (x *team) outdated(t *testing.T) []Stale {
	t.Helper()
	stale, err := x.Outdated(t.Context(), []string{"basalt", "shale"})
	if err != nil {
		t.Fatal(err)
	}
	return stale
}

func (x *team) rekey(ids *Identities, stale []Stale) ([]Stale, error) {
	r := &Rekey{Vault: x.Vault, IDs: ids, Now: made.Add(time.Hour), Want: x.want}
	return r.Run(context.Background(), stale)
}

// opens fails where a file does not open with ids, or holds another key.
func (x *team) opens(t *testing.T, ids *Identities) {
	t.Helper()
	for file, want := range map[string]keyring.PrivateKey{"wg0.key": x.key, "wg0.next.key": x.next} {
		if k, err := x.OpenKey("shale", file, want.PublicKey(), ids); err != nil || k.Key() != want.Key() {
			t.Error(err)
		}
	}
	if _, err := x.OpenKey("basalt", "wg0.key", x.other.PublicKey(), ids); err != nil {
		t.Error(err)
	}
	for _, n := range []Name{{"shale", "wg0.basalt.psk"}, {"basalt", "wg0.shale.psk"}} {
		if k, err := x.OpenPSK(n.Host, n.File, x.psk.Fingerprint(), ids); err != nil || !k.Equal(x.psk) {
			t.Error(err)
		}
	}
}

// TestRekey: bob comes and alice goes. The keys and their times stay, and what
// is right already is not touched.
func TestRekey(t *testing.T) {
	x := newTeam(t)
	if stale := x.outdated(t); len(stale) != 0 {
		t.Errorf("nothing is outdated yet: %v", stale)
	}
	x.recipients(t, x.aliceIs, x.bobIs)
	stale := x.outdated(t)
	if len(stale) != 5 || len(stale[0].Missing) != 1 || stale[0].Missing[0].Text != x.bobIs || len(stale[0].Gone) != 0 {
		t.Fatalf("outdated: %+v", stale)
	}
	was := x.meta(t)
	did, err := x.rekey(x.alice, stale)
	if err != nil || len(did) != 5 {
		t.Fatalf("%d files, %v", len(did), err)
	}
	x.opens(t, x.bob)
	x.opens(t, x.alice)
	for n, m := range x.meta(t) {
		m.Recipients = was[n].Recipients
		if diff := cmp.Diff(was[n], m); diff != "" {
			t.Errorf("the metadata of %v\n%s", n, diff)
		}
	}
	before := snapshot(t, x.Vault)
	if did, err := x.rekey(nil, x.outdated(t)); err != nil || len(did) != 0 {
		t.Errorf("nothing to do: %v, %v", did, err)
	}
	if diff := cmp.Diff(before, snapshot(t, x.Vault)); diff != "" {
		t.Error(diff)
	}
	x.recipients(t, x.bobIs)
	if did, err := x.rekey(x.bob, x.outdated(t)); err != nil || len(did) != 5 || len(did[0].Gone) != 1 {
		t.Fatalf("%+v, %v", did, err)
	}
	x.opens(t, x.bob)
	if _, err := x.OpenKey("shale", "wg0.key", x.key.PublicKey(), x.alice); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("alice is gone: %v", err)
	}
}

func (x *team) meta(t *testing.T) map[Name]Meta {
	t.Helper()
	all := map[Name]Meta{}
	for _, host := range []string{"basalt", "shale"} {
		names, err := x.List(host)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range names {
			if all[Name{host, file}], err = x.Meta(host, file); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// TestRekeyStock: a file of stock age gets metadata; when its key was made is
// not known, so its age begins now.
func TestRekeyStock(t *testing.T) {
	x := newTeam(t)
	writeFile(t, x.Path("shale", "wg0.key"), stock(t, x.Vault, "shale", string(x.key.File())))
	writeFile(t, x.Path("shale", "wg0.basalt.psk"), stock(t, x.Vault, "shale", string(x.psk.File())))
	stale := x.outdated(t)
	if len(stale) != 2 || !stale[0].NoMeta || !stale[1].NoMeta {
		t.Fatalf("%+v", stale)
	}
	if _, err := x.rekey(x.alice, stale); err != nil {
		t.Fatal(err)
	}
	x.opens(t, x.alice)
	m := x.meta(t)
	if key := m[Name{"shale", "wg0.key"}]; key.PublicKey != x.key.PublicKey() || !key.Created.Equal(madeAt.Add(time.Hour)) {
		t.Errorf("%+v", key)
	}
	if psk := m[Name{"shale", "wg0.basalt.psk"}]; psk.PSK != x.psk.Fingerprint() {
		t.Errorf("%+v", psk)
	}
}

// TestRekeyRefuses: one file that does not open, or is not what it should be,
// and nothing is written.
func TestRekeyRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(t *testing.T, x *team)
		ids  func(x *team) *Identities
		err  error
	}{
		{"no identity", func(*testing.T, *team) {}, func(x *team) *Identities { return x.bob }, ErrNoIdentity},
		{"swapped", func(t *testing.T, x *team) {
			writeFile(t, x.Path("basalt", "wg0.key"), forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.key", PublicKey: x.key.PublicKey()}, x.key.File()))
		}, nil, ErrMismatch},
		{"forged", func(t *testing.T, x *team) {
			writeFile(t, x.Path("basalt", "wg0.key"), forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.key", PublicKey: x.other.PublicKey()}, x.key.File()))
		}, nil, ErrMismatch},
		{"another PSK", func(t *testing.T, x *team) {
			psk := newPSK(t)
			writeFile(t, x.Path("basalt", "wg0.shale.psk"), forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.shale.psk", PSK: psk.Fingerprint()}, psk.File()))
		}, nil, ErrMismatch},
		{"cut short", func(t *testing.T, x *team) {
			text := readTestFile(t, x.Path("shale", "wg0.key"))
			writeFile(t, x.Path("shale", "wg0.key"), text[:len(text)-100])
		}, nil, ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newTeam(t)
			x.recipients(t, x.aliceIs, x.bobIs)
			stale := x.outdated(t)
			x.recipients(t, x.aliceIs)
			test.do(t, x)
			x.recipients(t, x.aliceIs, x.bobIs)
			before := snapshot(t, x.Vault)
			ids := x.alice
			if test.ids != nil {
				ids = test.ids(x)
			}
			if did, err := x.rekey(ids, stale); !errors.Is(err, test.err) || len(did) != 0 {
				t.Errorf("%v, %v", did, err)
			}
			if diff := cmp.Diff(before, snapshot(t, x.Vault)); diff != "" {
				t.Error(diff)
			}
		})
	}
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
	if err == nil || !strings.Contains(err.Error(), x.Path("shale", "wg0.key")+`": it was changed in the meantime`) || len(did) != 4 {
		t.Errorf("%d files, %v", len(did), err)
	}
	if readTestFile(t, x.Path("shale", "wg0.key")) != theirs {
		t.Error("the change is lost")
	}
	x.opens(t, x.bob)
}

// TestRekeyTwice: two at once are told of each other, and what one that was
// killed has left is removed.
func TestRekeyTwice(t *testing.T) {
	x := newTeam(t)
	left := filepath.Join(x.Dir, "shale", ".wg0.key.age.replacing")
	writeFile(t, left, "half a file")
	x.recipients(t, x.bobIs, x.aliceIs)
	stale := x.outdated(t)
	if len(stale) == 0 {
		t.Fatal("nothing to do")
	}
	unlock, err := x.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.rekey(x.alice, stale); err == nil || !strings.Contains(err.Error(), `another rekey is at work in "`+x.Dir) {
		t.Errorf("at the same time: %v", err)
	}
	unlock()
	if _, err := x.rekey(x.alice, stale); err != nil {
		t.Error(err)
	}
	x.opens(t, x.bob)
	if _, err := os.Stat(left); err == nil {
		t.Error("the temporary file is still there")
	}
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
		if f, ok := errors.AsType[*fault.Fault](err); !ok || f.Who != way || len(did) != len(stale)-1 {
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
	onDisk := func() map[string]bool {
		staged, err := filepath.Glob(filepath.Join(x.Dir, "*", ".*.replacing"))
		if err != nil {
			t.Error(err)
		}
		is := map[string]bool{}
		for _, path := range staged {
			is[path] = true
		}
		return is
	}
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want}
	r.flush = func(_ *os.File, hint string) error {
		return fault.New("the disk is broken", "", "", hint)
	}
	stale := x.outdated(t)
	if did, err := r.Run(t.Context(), stale); err == nil || err.Error() != "the disk is broken" || len(did) != 0 || len(onDisk()) != 0 {
		t.Errorf("%d files, %v, left: %v", len(did), err, onDisk())
	}
	x.opens(t, x.alice)

	flushed, last := map[string]bool{}, 0
	r.flush = func(*os.File, string) error {
		staged := onDisk()
		maps.Copy(flushed, staged)
		last = len(staged)
		return nil
	}
	did, err := r.Run(t.Context(), x.outdated(t))
	if err != nil || len(did) != len(stale) {
		t.Errorf("%d files, %v", len(did), err)
	}
	for _, s := range did {
		if !flushed[files.Staged(x.Path(s.Host, s.File))] {
			t.Errorf("%s %s was replaced before the new file was on disk", s.Host, s.File)
		}
	}
	if last != 0 {
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
	opens := func(ids *Identities) (n int) {
		for host, k := range keys {
			if _, err := x.OpenKey(host, "wg0.key", k.PublicKey(), ids); err == nil {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: func(n Name) (Half, error) { return Half{PublicKey: keys[n.Host].PublicKey()}, nil }}
	r.Step = func(done, all int) { // no more than writers files can be staged before it returns
		for end := time.Now().Add(time.Minute); done == all/2+1 && opens(x.bob) == 0; {
			if time.Now().After(end) {
				t.Error("nothing is swapped before all is encrypted")
				break
			}
		}
		if done > all/2 {
			cancel()
		}
	}
	did, err := r.Run(ctx, stale)
	if !errors.Is(err, context.Canceled) || len(did) == 0 || len(did) == len(keys) {
		t.Errorf("%d files, %v", len(did), err)
	}
	if a, b := opens(x.alice), opens(x.bob); a != len(keys) || b != len(did) {
		t.Errorf("alice opens %d files, bob %d; %d were replaced", a, b, len(did))
	}
	left, err := filepath.Glob(filepath.Join(x.Dir, "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	r.Step, r.done = nil, 0
	stale, err = x.Outdated(t.Context(), slices.Sorted(maps.Keys(keys)))
	if err != nil || len(stale) != len(keys)-len(did) {
		t.Errorf("%d files, %v", len(stale), err)
	}
	if _, err := r.Run(t.Context(), stale); err != nil || opens(x.bob) != len(keys) {
		t.Errorf("the next one: %v", err)
	}
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
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: func(Name) (Half, error) { return Half{PSK: x.psk.Fingerprint()}, nil }}
	r.Step = func(done, all int) {
		for i := 0; done == all/2 && i < len(hosts); i++ {
			writeFile(t, x.Path(hosts[i], "wg0.shale.psk"), "theirs")
		}
	}
	did, err := r.Run(t.Context(), stale)
	if n := strings.Count(fmt.Sprint(err), "it was changed in the meantime"); len(did) != 0 || n < maxErrors || n > 2*maxErrors+writers {
		t.Errorf("%d files, %d errors: %v", len(did), n, err)
	}
	for _, host := range hosts {
		if readTestFile(t, x.Path(host, "wg0.shale.psk")) != "theirs" {
			t.Errorf("%s: the change is lost", host)
		}
	}
	if left, err := filepath.Glob(filepath.Join(x.Dir, "*", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestOnlyTheHost: the secrets of a host that keeps them to itself are for its
// own recipients alone, and stay so.
func TestOnlyTheHost(t *testing.T) {
	x := newTeam(t)
	if err := x.KeepToHost("slate"); err == nil || !strings.Contains(err.Error(), `no recipient of its own for host slate`) {
		t.Errorf("no list: %v", err)
	}
	if err := x.KeepToHost("shale"); err == nil {
		t.Error("others can open its keys")
	}
	id := filepath.Join(t.TempDir(), "id")
	slate, err := NewIdentity(id, false, made) // classic, in a post-quantum vault
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(x.Dir, "slate", recipientsFile), "# slate\n"+slate+"\n")
	for range 2 {
		if err := x.KeepToHost("slate"); err != nil {
			t.Fatal(err)
		}
	}
	k := sealKey(t, x.Vault, "slate", "wg0.key")
	if !x.Sealed("slate") || x.Sealed("shale") {
		t.Error("not known who keeps keys to itself")
	}
	_, err = x.OpenKey("slate", "wg0.key", k.PublicKey(), x.alice)
	assertFault(t, err, ErrNoIdentity, x.Path("slate", "wg0.key"), "encrypted to slate (")
	assertHint(t, err, OnHost("slate"))
	if _, err := x.OpenKey("slate", "wg0.key", k.PublicKey(), FindIdentities(Place{id, "-i", true})); err != nil {
		t.Error(err)
	}
	x.recipients(t, x.aliceIs, x.bobIs)
	if stale, err := x.Outdated(t.Context(), []string{"slate"}); err != nil || len(stale) != 0 {
		t.Errorf("it is outdated: %+v, %v", stale, err)
	}

	// Its own list changes: it is left to the host, and the others go on.
	writeFile(t, filepath.Join(x.Dir, "slate", onlyFile), newRecipient(t, false)+"\n")
	stale, err := x.Outdated(t.Context(), []string{"basalt", "shale", "slate"})
	if err != nil || len(stale) != 6 {
		t.Fatalf("%+v, %v", stale, err)
	}
	var left []string
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want, Left: func(s Stale, _ error) { left = append(left, s.Host) }}
	r.Want = func(n Name) (Half, error) {
		if n.Host == "slate" {
			return Half{PublicKey: k.PublicKey()}, nil
		}
		return x.want(n)
	}
	if did, err := r.Run(t.Context(), stale); err != nil || len(did) != 5 || len(left) != 1 {
		t.Errorf("%d files, left to %q, %v", len(did), left, err)
	}
	writeFile(t, filepath.Join(x.Dir, "slate", recipientsFile), slate+"\n")
	if _, err := x.Recipients("slate"); err == nil || !strings.Contains(err.Error(), "two lists of recipients") {
		t.Errorf("both lists: %v", err)
	}
}
