package kept

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/revoked"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// RekeyPeer replaces the key of a peer by fresh in what this host remembers of a tunnel,
// when a rotation is over: in its journal, so that the peer stays ours, and in the view for
// the next boot. It waits until no other process changes a tunnel. It changes nothing if
// that is done already.
func RekeyPeer(ctx context.Context, name string, old, fresh keyring.PublicKey) error {
	unlock, err := journal.Lock(ctx, linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := revoked.Add(old, fresh); err != nil {
		return err
	}
	j, err := journal.Open(linux.RunDir, name)
	if err != nil {
		return err
	}
	if err := j.Rename(journal.OfPeer(old), journal.OfPeer(fresh)); err != nil {
		return err
	}
	return changeKept(name, func(v *tunnel.View) bool {
		i := slices.IndexFunc(v.Peers, func(p tunnel.Peer) bool { return p.PublicKey == old || p.PublicKey == fresh })
		return i >= 0 && replaceKey(&v.Peers[i].PublicKey, &v.Peers[i].NextPublicKey, fresh)
	})
}

// RekeyOwn replaces this host's own key by fresh in the view for the next boot, while
// promote replaces the key file: if the host boots in between, the view has both keys and
// the file decides. It waits until no other process changes a tunnel.
func RekeyOwn(name string, fresh keyring.PublicKey, promote func() error) error {
	unlock, err := journal.Lock(context.Background(), linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	var old keyring.PublicKey
	err = changeKept(name, func(v *tunnel.View) bool {
		old = v.PublicKey
		known := v.PublicKey == fresh || v.NextPublicKey == fresh
		if !known {
			v.NextPublicKey = fresh
		}
		return !known
	})
	if err == nil {
		err = promote()
	}
	if err == nil {
		err = revoked.Add(old, fresh)
	}
	if err != nil {
		return err
	}
	return changeKept(name, func(v *tunnel.View) bool {
		done := v.PublicKey == fresh && v.NextPublicKey.IsZero()
		v.PublicKey, v.NextPublicKey = fresh, keyring.PublicKey{}
		return !done
	})
}

// RefusePeer gives a peer whose key was stolen a key that nobody has, in the view for the
// next boot. Its routes stay, so that packets for them do not leave elsewhere. It waits
// until no other process changes a tunnel.
func RefusePeer(ctx context.Context, name string, stolen keyring.PublicKey) error {
	unlock, err := journal.Lock(ctx, linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := revoked.Add(stolen, keyring.PublicKey{}); err != nil {
		return err
	}
	return changeKept(name, func(v *tunnel.View) (changed bool) {
		for i := range v.Peers {
			if p := &v.Peers[i]; p.PublicKey == stolen || p.NextPublicKey == stolen {
				p.PublicKey, p.NextPublicKey, changed = Nobody(stolen), keyring.PublicKey{}, true
			}
		}
		return changed
	})
}

// replaceKey replaces the key by fresh and removes the next key. It reports false if
// nothing has changed.
func replaceKey(key, next *keyring.PublicKey, fresh keyring.PublicKey) bool {
	before := [2]keyring.PublicKey{*key, *next}
	if *key = fresh; *next == fresh {
		*next = keyring.PublicKey{}
	}
	return before != [2]keyring.PublicKey{*key, *next}
}

// changeKept changes the view for the next boot, if there is one. With one that cannot be read
// nothing comes up, and so no key.
func changeKept(name string, change func(*tunnel.View) bool) error {
	v, err := View(name)
	if errors.Is(err, ErrUnreadable) {
		return nil
	}
	if err != nil || v == nil || !change(v) {
		return err
	}
	if err := v.ValidateKept(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := tunnel.EncodeView(&text, v); err != nil {
		return err
	}
	if path, err := Keep(name, text.Bytes()); path == "" {
		return err
	}
	return nil
}
