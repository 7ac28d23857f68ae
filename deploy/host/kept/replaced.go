package kept

import (
	"crypto/sha256"

	"wgkeys/deploy/revoked"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Nobody is a public key to replace another one: a hash, whose private key nobody knows,
// and the same each time. Its highest bit is cleared, as in all keys (RFC 7748, section 5).
func Nobody(key keyring.PublicKey) keyring.PublicKey {
	hash := keyring.PublicKey(sha256.Sum256(append([]byte("wgkeys: nobody has the private key of this one\n"), key[:]...)))
	hash[len(hash)-1] &= 0x7f
	return hash
}

// NoteReplaced records the keys that view, which was just applied, replaces: those of the
// same peers in the previous view. It is called before view is kept. For the host's own key
// a rotation does this: a key from a snapshot is older than the kept view.
func NoteReplaced(view *tunnel.View) error {
	kept, err := View(view.Tunnel)
	if err != nil || kept == nil {
		return nil // without a previous view nothing is known
	}
	before := make(map[string]keyring.PublicKey, len(kept.Peers))
	for i := range kept.Peers {
		before[kept.Peers[i].Name] = kept.Peers[i].PublicKey
	}
	for i := range view.Peers {
		p := &view.Peers[i]
		old := before[p.Name]
		if old.IsZero() || old == p.PublicKey || old == p.NextPublicKey {
			continue
		}
		if err := revoked.Add(old, p.PublicKey); err != nil {
			return err
		}
	}
	return nil
}

// AllowReplaced forgets that keys of view were replaced: the user has said that they are
// right.
func AllowReplaced(view *tunnel.View) error {
	list, err := revoked.Read()
	if err != nil || list.Empty() {
		return err
	}
	var keys []keyring.PublicKey
	add := func(key keyring.PublicKey) {
		if _, ok := list.By(key); ok {
			keys = append(keys, key)
		}
	}
	add(view.PublicKey)
	for i := range view.Peers {
		add(view.Peers[i].PublicKey)
	}
	if keys == nil {
		return nil
	}
	return revoked.Allow(keys...)
}
