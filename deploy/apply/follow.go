package apply

import (
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Follow returns view with the keys that are in use here, for hosts in the middle of a
// rotation. The repository knows the old key and the next one, but not which of them a host
// uses at this moment; the kernel does, and the key that it uses must never be removed.
//
// A peer uses its next key if that has allowed IPs: a rotation moves them in the moment of
// the switch. The host itself uses its next key if the device has it, or if the device has
// neither and the key file has it.
func Follow(view *tunnel.View, state *State) *tunnel.View {
	own, peers := ownReplaced(view, state), peersReplaced(view, state)
	if !own && peers == nil {
		return view
	}
	followed := *view
	if own {
		followed.PublicKey, followed.NextPublicKey = view.NextPublicKey, keyring.PublicKey{}
	}
	if peers != nil {
		followed.Peers = slices.Clone(view.Peers)
	}
	for _, i := range peers {
		p := &followed.Peers[i]
		p.PublicKey, p.NextPublicKey = p.NextPublicKey, keyring.PublicKey{}
	}
	return &followed
}

func ownReplaced(view *tunnel.View, state *State) bool {
	next, device := view.NextPublicKey, state.Device.PublicKey
	if next.IsZero() || device == view.PublicKey {
		return false
	}
	return device == next || state.KeyFiles[view.PrivateKeyFile].PublicKey == next
}

// peersReplaced returns the indices in the view of peers that use their next key.
func peersReplaced(view *tunnel.View, state *State) (replaced []int) {
	next := map[keyring.PublicKey]int{}
	for i := range view.Peers {
		if k := view.Peers[i].NextPublicKey; !k.IsZero() {
			next[k] = i
		}
	}
	if len(next) == 0 {
		return nil
	}
	for i := range state.Peers {
		if at, ok := next[state.Peers[i].PublicKey]; ok && len(state.Peers[i].AllowedIPs) > 0 {
			replaced = append(replaced, at)
		}
	}
	return replaced
}

// rotated is what a plan has to know about keys that are not in its view, but belong to its
// peers all the same.
type rotated struct {
	before map[keyring.PublicKey]keyring.PublicKey // by the next key that is in use: the old one
	old    map[keyring.PublicKey]string            // old keys, by their owner
	unused map[keyring.PublicKey]bool              // next keys that are not in use
}

func rotatedOf(asked, followed *tunnel.View) rotated {
	t := rotated{map[keyring.PublicKey]keyring.PublicKey{}, map[keyring.PublicKey]string{}, map[keyring.PublicKey]bool{}}
	for i := range asked.Peers {
		was, is := &asked.Peers[i], &followed.Peers[i]
		switch {
		case was.NextPublicKey.IsZero():
		case is.PublicKey == was.NextPublicKey:
			t.before[is.PublicKey], t.old[was.PublicKey] = was.PublicKey, was.Name
		default:
			t.unused[was.NextPublicKey] = true
		}
	}
	return t
}
