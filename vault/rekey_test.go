package vault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wgkeys/keyring"
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
	x := &team{Vault: v, alice: alice, bob: FindIdentities(Place{path, "-i", true}), aliceIs: mine[0], bobIs: bobIs,
		psk: newPSK(t)}
	x.key, x.next, x.other = sealKey(t, v, "shale", "wg0.key"), sealKey(t, v, "shale", "wg0.next.key"),
		sealKey(t, v, "basalt", "wg0.key")
	for _, n := range []Name{{"shale", "wg0.basalt.psk"}, {"basalt", "wg0.shale.psk"}} {
		if err := v.SealPSK(n.Host, n.File, x.psk, made); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *team) want(n Name) (Expected, error) {
	switch n {
	case Name{"shale", "wg0.key"}:
		return Expected{PublicKey: x.key.PublicKey()}, nil
	case Name{"shale", "wg0.next.key"}:
		return Expected{PublicKey: x.next.PublicKey()}, nil
	case Name{"basalt", "wg0.key"}:
		return Expected{PublicKey: x.other.PublicKey()}, nil
	}
	return Expected{PSK: x.psk.Fingerprint()}, nil
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
	x.keptMeta(t, was)
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

// keptMeta fails where the metadata changed, but for the recipients.
func (x *team) keptMeta(t *testing.T, was map[Name]Meta) {
	t.Helper()
	for n, m := range x.meta(t) {
		m.Recipients = was[n].Recipients
		if diff := cmp.Diff(was[n], m); diff != "" {
			t.Errorf("the metadata of %v\n%s", n, diff)
		}
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
	if key := m[Name{"shale", "wg0.key"}]; key.PublicKey != x.key.PublicKey() ||
		!key.Created.Equal(madeAt.Add(time.Hour)) {
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
			writeFile(t, x.Path("basalt", "wg0.key"),
				forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.key", PublicKey: x.key.PublicKey()}, x.key.File()))
		}, nil, errMismatch},
		{"forged", func(t *testing.T, x *team) {
			writeFile(t, x.Path("basalt", "wg0.key"),
				forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.key", PublicKey: x.other.PublicKey()}, x.key.File()))
		}, nil, errMismatch},
		{"another PSK", func(t *testing.T, x *team) {
			psk := newPSK(t)
			writeFile(t, x.Path("basalt", "wg0.shale.psk"), forge(t, x.Vault, Meta{Host: "basalt", File: "wg0.shale.psk",
				PSK: psk.Fingerprint()}, psk.File()))
		}, nil, errMismatch},
		{"cut short", func(t *testing.T, x *team) {
			text := readTestFile(t, x.Path("shale", "wg0.key"))
			writeFile(t, x.Path("shale", "wg0.key"), text[:len(text)-100])
		}, nil, errDamaged},
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
	if _, err := x.rekey(x.alice, stale); err == nil || !strings.Contains(err.Error(), `another rekey is running in "`+
		x.Dir) {
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

// keeper has slate keep its secrets to itself: its recipient, and the identity's file.
func (x *team) keeper(t *testing.T) (recipient, identity string) {
	t.Helper()
	identity = filepath.Join(t.TempDir(), "id")
	recipient, err := NewIdentity(identity, false, made) // classic, in a post-quantum vault
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(x.Dir, "slate", recipientsFile), "# slate\n"+recipient+"\n")
	for range 2 {
		if err := x.KeepToHost("slate"); err != nil {
			t.Fatal(err)
		}
	}
	return recipient, identity
}

// TestOnlyTheHost: the secrets of a host that keeps them to itself are for its
// own recipients alone, and stay so.
func TestOnlyTheHost(t *testing.T) {
	x := newTeam(t)
	if err := x.KeepToHost("slate"); err == nil || !strings.Contains(err.Error(),
		`no recipient of its own for host slate`) {
		t.Errorf("no list: %v", err)
	}
	if err := x.KeepToHost("shale"); err == nil {
		t.Error("others can open its keys")
	}
	slate, id := x.keeper(t)
	k := sealKey(t, x.Vault, "slate", "wg0.key")
	if !x.Sealed("slate") || x.Sealed("shale") {
		t.Error("not known who keeps keys to itself")
	}
	_, err := x.OpenKey("slate", "wg0.key", k.PublicKey(), x.alice)
	assertFault(t, err, ErrNoIdentity, x.Path("slate", "wg0.key"), "encrypted to slate (")
	assertHint(t, err, onHost("slate", "push slate --host slate"))
	if _, err := x.OpenKey("slate", "wg0.key", k.PublicKey(), FindIdentities(Place{id, "-i", true})); err != nil {
		t.Error(err)
	}
	x.recipients(t, x.aliceIs, x.bobIs)
	if stale, err := x.Outdated(t.Context(), []string{"slate"}); err != nil || len(stale) != 0 {
		t.Errorf("it is outdated: %+v, %v", stale, err)
	}
	writeFile(t, filepath.Join(x.Dir, "slate", recipientsFile), slate+"\n")
	if _, err := x.Recipients("slate"); err == nil || !strings.Contains(err.Error(), "two lists of recipients") {
		t.Errorf("both lists: %v", err)
	}
}

// TestRekeyOnlyTheHost: where the list of such a host changes, it is left to the host,
// and the others go on.
func TestRekeyOnlyTheHost(t *testing.T) {
	x := newTeam(t)
	x.keeper(t)
	k := sealKey(t, x.Vault, "slate", "wg0.key")
	x.recipients(t, x.aliceIs, x.bobIs)
	writeFile(t, filepath.Join(x.Dir, "slate", onlyFile), newRecipient(t, false)+"\n")
	stale, err := x.Outdated(t.Context(), []string{"basalt", "shale", "slate"})
	if err != nil || len(stale) != 6 {
		t.Fatalf("%+v, %v", stale, err)
	}
	var left []string
	r := &Rekey{Vault: x.Vault, IDs: x.alice, Now: made, Want: x.want, Left: func(s Stale, _ error) {
		left = append(left, s.Host)
	}}
	r.Want = func(n Name) (Expected, error) {
		if n.Host == "slate" {
			return Expected{PublicKey: k.PublicKey()}, nil
		}
		return x.want(n)
	}
	if did, err := r.Run(t.Context(), stale); err != nil || len(did) != 5 || len(left) != 1 {
		t.Errorf("%d files, left to %q, %v", len(did), left, err)
	}
}

// TestKeepToHostLate: a host whose keys others can open is not said to keep them to itself.
func TestKeepToHostLate(t *testing.T) {
	x := newTeam(t)
	list := readTestFile(t, filepath.Join(x.Dir, recipientsFile))
	writeFile(t, filepath.Join(x.Dir, "slate", recipientsFile), list)
	sealKey(t, x.Vault, "slate", "wg0.key")
	err := x.KeepToHost("slate")
	if err == nil || !strings.HasSuffix(err.Error(), "vault/slate has files that are encrypted to all recipients: wg0.key") {
		t.Errorf("got %v", err)
	}
}
