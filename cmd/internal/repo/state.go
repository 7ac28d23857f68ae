package repo

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

// A KeyState is the state of a host's rotation in the repository: which files of the next
// key and of the present one there are.
//
//	key.age   next.key.age   .pub   next.pub
//	old       -              old    -          no rotation
//	old       next           old    -          begun, and killed at once
//	old       next           old    next       under way: hosts have either key
//	next      -              old    next       over on the hosts; here only the vault is done
//	next      -              next   -          over
//
// A host that makes its next key itself has no next.key.age, and no key.age after the
// rotation.
type KeyState struct {
	Next          keyring.PublicKey // in the keyring; zero: none
	Sealed        bool              // there is a next.key.age
	inVault       keyring.PublicKey // that of next.key.age
	VaultPromoted bool              // the vault has finished, the keyring has not
	keyIsHere     bool              // there is a key.age
}

// KeyState reads the state of host's rotation in the repository. It needs no identity.
func (r *Repo) KeyState(host, tunnel string) (c KeyState, err error) {
	if noNext(r, host, tunnel) {
		return c, nil
	}
	c.Next, err = r.Ring.GetFrom(r.Snapshot, host, keyring.Next(tunnel))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	next, err := r.Vault.Meta(host, vault.KeyFile(keyring.Next(tunnel)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c.Sealed, c.inVault = err == nil, next.PublicKey
	if c.Next.IsZero() || c.Sealed {
		return c, nil
	}
	present, err := r.Vault.Meta(host, vault.KeyFile(tunnel))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil && !errors.Is(err, vault.ErrNoMeta): // a file of stock age is not a next key
		return c, err
	}
	c.keyIsHere, c.VaultPromoted = true, present.PublicKey == c.Next
	return c, nil
}

// noNext reports that there is no rotation, by a snapshot: of ten thousand hosts nearly all
// have none, and an error for each takes time.
func noNext(r *Repo, host, tunnel string) bool {
	return r.Ring.Lacks(r.Snapshot, host, keyring.Next(tunnel)) &&
		r.Vault.Lacks(host, vault.KeyFile(keyring.Next(tunnel)))
}

// UnderWay reports whether there is a rotation that is not over.
func (c KeyState) UnderWay() bool { return c.Sealed || !c.Next.IsZero() }

// Mismatch is the error if two next keys do not belong together.
func (c KeyState) Mismatch(r *Repo, host, tunnel string) error {
	if !c.Sealed || c.Next.IsZero() || c.inVault == c.Next {
		return nil
	}
	path := r.Ring.Path(host, keyring.Next(tunnel))
	return fault.NewFile("two next keys for host "+host+":", path,
		"it is "+c.Next.String()+", and "+r.Vault.Path(host,
			vault.KeyFile(keyring.Next(tunnel)))+" holds that of "+c.inVault.String(),
		"git log -p -- "+ui.Quoted(path))
}

// Promote makes the next key of host the present one, when it is certain that the hosts use
// it. First the private key, then the public one: after a crash in between, the vault's
// metadata belongs to the next public key, and another call continues from there. If
// nothing is left to do it does nothing. Each of the two goes through step, with which
// tests make one fail.
func (r *Repo) Promote(host, tunnel string, step func(string, func() error) error) error {
	c, err := r.KeyState(host, tunnel)
	if err != nil || !c.UnderWay() {
		return err
	}
	if err := c.Mismatch(r, host, tunnel); err != nil {
		return err
	}
	r.TouchKeys(host, tunnel)
	promote := func() error { return nil }
	switch {
	case c.Next.IsZero():
		return fault.NewHost("no rotation to finish of host", host,
			"its next key is in the vault, and was never brought to a host",
			Commands(r, tunnel).Run("rotate", host))
	case c.Sealed:
		promote = func() error { return r.Vault.Promote(host, tunnel) }
	case c.keyIsHere && !c.VaultPromoted: // the host made the next one, and keeps it
		promote = func() error { return r.Vault.RemoveKey(host, vault.KeyFile(tunnel)) }
	}
	if err := step("promote private", promote); err != nil {
		return err
	}
	return step("promote public", func() error { return r.Ring.Promote(host, tunnel) })
}

// nextKeys are the keys to which a rotation is changing hosts of a tunnel. If the rotation
// is finished, except in the keyring, the next key is the present one: then it is put into
// present.
func nextKeys(r *Repo, seen *files.Snapshot, tunnel string,
	present map[string]keyring.PublicKey) (map[string]keyring.PublicKey, error) {
	next, err := r.Ring.LoadFrom(seen, keyring.Next(tunnel))
	if err != nil {
		return nil, err
	}
	for host, key := range next {
		// A configuration change needs no vault: without it the hosts find out.
		if c, err := r.KeyState(host, tunnel); err == nil && c.VaultPromoted {
			present[host] = key
			delete(next, host)
		}
	}
	return next, nil
}

// A HostKey is the private key of a host in one tunnel.
type HostKey struct {
	Host, Tunnel string
	Created      time.Time
}

// Due returns the keys that are older than max_key_age, of all hosts of all tunnels, oldest
// first: none if it is not set. A key with an unfinished rotation is due at any age. The
// vault's metadata has the age, so no identity is needed; the age of a key that only its
// host has is not known.
func (r *Repo) Due(now time.Time) ([]HostKey, error) {
	if r.MaxKeyAge == 0 {
		return nil, nil
	}
	names, err := tunnel.List(r.Tunnels())
	if err != nil {
		return nil, err
	}
	var due []HostKey
	for _, name := range names {
		t, err := Parse(r, name)
		if err != nil {
			return nil, err
		}
		for _, host := range t.Hosts() {
			c, err := r.KeyState(host, name)
			if err != nil {
				return nil, err
			}
			meta, err := r.Vault.Meta(host, vault.KeyFile(name))
			known := !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vault.ErrNoMeta)
			switch {
			case known && err != nil:
				return nil, err
			case c.UnderWay(), known && r.TooOld(meta, now):
				due = append(due, HostKey{host, name, meta.Created})
			}
		}
	}
	slices.SortStableFunc(due, func(a, b HostKey) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Tunnel, b.Tunnel), cmp.Compare(a.Host, b.Host))
	})
	return due, nil
}

// TooOld reports whether a key is older than max_key_age.
func (r *Repo) TooOld(m vault.Meta, now time.Time) bool {
	return r.MaxKeyAge > 0 && now.Sub(m.Created) > r.MaxKeyAge
}

// View is the plain configuration of host, with both keys of a host that is in the middle
// of a rotation.
func (r *Repo) View(t *tunnel.Tunnel, host string) (*tunnel.View, error) {
	vs, err := ViewsOf(r, t)
	if err != nil {
		return nil, err
	}
	return vs.Of(host)
}

// Views are those of a tunnel's hosts; the public keys are read once.
type Views struct {
	of   func(host string) (*tunnel.View, error)
	next map[string]keyring.PublicKey
}

// ViewsOf reads the public keys of a tunnel.
func ViewsOf(r *Repo, t *tunnel.Tunnel) (*Views, error) {
	seen := files.Take(r.Dir, filepath.Base(r.Ring.Dir))
	keys, err := r.Ring.LoadFrom(seen, t.Name)
	if err != nil {
		return nil, err
	}
	next, err := nextKeys(r, seen, t.Name, keys)
	if err != nil {
		return nil, err
	}
	return &Views{t.Views(func(host string) keyring.PublicKey { return keys[host] }), next}, nil
}

// Of is the view of one host: see [Repo.View].
func (vs *Views) Of(host string) (*tunnel.View, error) {
	v, err := vs.of(host)
	if err != nil {
		return nil, err
	}
	return v, v.SetNext(vs.next)
}

// AllViews are the views of several tunnels' hosts, for several goroutines: the public keys
// of a tunnel are read once, with its first view. [Repo.View] would read all of them for
// each host.
type AllViews struct {
	Repo *Repo

	mu sync.Mutex
	of map[string]*Views // by tunnel
}

// Of is [Repo.View].
func (a *AllViews) Of(t *tunnel.Tunnel, host string) (*tunnel.View, error) {
	a.mu.Lock()
	vs := a.of[t.Name]
	if vs == nil {
		var err error
		if vs, err = ViewsOf(a.Repo, t); err != nil {
			a.mu.Unlock()
			return nil, err
		}
		if a.of == nil {
			a.of = map[string]*Views{}
		}
		a.of[t.Name] = vs
	}
	a.mu.Unlock()
	return vs.Of(host)
}
