package main

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"time"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A turn of a host's key in the repository: what is there of the next key, and
// of the present one.
//
//	key.age   next.key.age   .pub   next.pub
//	old       -              old    -          no rotation
//	old       next           old    -          begun, and killed at once
//	old       next           old    next       under way: hosts have either key
//	next      -              old    next       over on the hosts, half of it here
//	next      -              next   -          over
//
// A host that makes its next key itself has no next.key.age, and no key.age when
// it is over.
type change struct {
	next      keyring.PublicKey // in the keyring; zero: none
	sealed    bool              // there is a next.key.age
	inVault   keyring.PublicKey // that of next.key.age
	half      bool              // the vault has finished, the keyring has not
	keyIsHere bool              // there is a key.age
}

// changeOf reads how far a rotation of host is in the repository. It needs no
// identity.
func (r *repo) changeOf(host, tunnel string) (c change, err error) {
	if c.next, err = r.ring.Seen(r.seen, host, keyring.Next(tunnel)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	next, err := r.vault.Meta(host, vault.KeyFile(keyring.Next(tunnel)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c.sealed, c.inVault = err == nil, next.PublicKey
	if c.next.IsZero() || c.sealed {
		return c, nil
	}
	present, err := r.vault.Meta(host, vault.KeyFile(tunnel))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil && !errors.Is(err, vault.ErrNoMeta): // what stock age made is no next key
		return c, err
	}
	c.keyIsHere, c.half = true, present.PublicKey == c.next
	return c, nil
}

// underway reports whether there is a rotation that is not over.
func (c change) underway() bool { return c.sealed || !c.next.IsZero() }

// mismatch tells of two next keys that do not belong together.
func (c change) mismatch(r *repo, host, tunnel string) error {
	if !c.sealed || c.next.IsZero() || c.inVault == c.next {
		return nil
	}
	path := r.ring.Path(host, keyring.Next(tunnel))
	return fault.New("two next keys for host "+host+":", path,
		"it is "+c.next.String()+", and "+r.vault.Path(host, vault.KeyFile(keyring.Next(tunnel)))+" holds that of "+c.inVault.String(),
		"git log -p -- "+path)
}

// finishNext makes the next key of host the present one, when it is certain that
// the hosts use it. First the private key, then the public one: killed in
// between, the vault's metadata tells that it belongs to the next public key, and
// another call goes on from there. Where nothing is left to do it does nothing.
func (r *repo) finishNext(host, tunnel string) error {
	c, err := r.changeOf(host, tunnel)
	if err != nil || !c.underway() {
		return err
	}
	if err := c.mismatch(r, host, tunnel); err != nil {
		return err
	}
	r.touchKeys(host, tunnel)
	promote := func() error { return nil }
	switch {
	case c.next.IsZero():
		return fault.New("no rotation to finish of host", host, "its next key is in the vault, and was never brought to a host",
			"wgkeys rotate "+host)
	case c.sealed:
		promote = func() error { return r.vault.Promote(host, tunnel) }
	case c.keyIsHere && !c.half: // the host made the next one, and keeps it
		promote = func() error { return r.vault.RemoveKey(host, vault.KeyFile(tunnel)) }
	}
	if err := testOnlyStep("promote private", promote); err != nil {
		return err
	}
	return testOnlyStep("promote public", func() error { return r.ring.Promote(host, tunnel) })
}

// nextKeys are the keys that a rotation is changing hosts of a tunnel to. Where
// the rotation is over, but for the keyring, the next key is the present one:
// those are put into present.
func (r *repo) nextKeys(tunnel string, present map[string]keyring.PublicKey) (map[string]keyring.PublicKey, error) {
	next, err := r.ring.Load(keyring.Next(tunnel))
	if err != nil {
		return nil, err
	}
	for host, key := range next {
		// A config change needs no vault: without it the hosts find out.
		if c, err := r.changeOf(host, tunnel); err == nil && c.half {
			present[host] = key
			delete(next, host)
		}
	}
	return next, nil
}

// A hostKey is the private key of a host in one tunnel.
type hostKey struct {
	Host, Tunnel string
	Created      time.Time
}

// due are the keys that are older than max_key_age allows, of all hosts of all
// tunnels, oldest first: none where it is not set. One whose rotation has begun and
// is not over is due whatever its age. The vault's metadata tells, and no identity
// is needed; the age of a key that only its host has is not known.
func (r *repo) due(now time.Time) ([]hostKey, error) {
	if r.maxKeyAge == 0 {
		return nil, nil
	}
	names, err := tunnel.List(r.tunnels())
	if err != nil {
		return nil, err
	}
	var due []hostKey
	for _, name := range names {
		t, err := tunnel.Parse(r.tunnels(), name)
		if err != nil {
			return nil, err
		}
		for _, host := range t.Hosts() {
			c, err := r.changeOf(host, name)
			if err != nil {
				return nil, err
			}
			meta, err := r.vault.Meta(host, vault.KeyFile(name))
			known := !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vault.ErrNoMeta)
			switch {
			case known && err != nil:
				return nil, err
			case c.underway(), known && r.tooOld(meta, now):
				due = append(due, hostKey{host, name, meta.Created})
			}
		}
	}
	slices.SortStableFunc(due, func(a, b hostKey) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Tunnel, b.Tunnel), cmp.Compare(a.Host, b.Host))
	})
	return due, nil
}

func (r *repo) tooOld(m vault.Meta, now time.Time) bool {
	return r.maxKeyAge > 0 && now.Sub(m.Created) > r.maxKeyAge
}
