package rotate

import (
	"context"

	"wgkeys/keyring"
)

// OtherKey returns the key that the host uses if that is neither old nor next, and a peer
// that has none of these two has that key; otherwise zero. The host is asked last, and only
// if a peer gives reason to: whoever stole its key may control it, and it may not answer.
func (r *Rotation) OtherKey(ctx context.Context, old, next keyring.PublicKey) keyring.PublicKey {
	answers := make([]Answer, len(r.Peers))
	r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		ctx, cancel := context.WithTimeout(ctx, armFor)
		defer cancel()
		a, err := p.Look(ctx, r.Tunnel)
		if _, has := a.Live.Peers[old]; err == nil && !has {
			answers[i] = a
		}
		return nil
	})
	has := func(key keyring.PublicKey) bool {
		for _, a := range answers {
			if _, ok := a.Live.Peers[key]; ok && !key.IsZero() {
				return true
			}
		}
		return false
	}
	asked := false
	for _, a := range answers {
		asked = asked || a.Live.Peers != nil
	}
	if !asked || has(next) {
		return keyring.PublicKey{}
	}
	try, cancel := context.WithTimeout(ctx, armFor)
	defer cancel()
	a, err := r.Host.Look(try, r.Tunnel)
	live := a.Live.PublicKey
	if err != nil || live == old || live == next || !has(live) {
		return keyring.PublicKey{}
	}
	return live
}
