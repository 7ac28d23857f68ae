package apply

import (
	"slices"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// Follow returns view with the keys that are in use here, of hosts in the middle
// of a rotation. The repository knows the old key and the next one and not which
// of them a host has come to; the kernel does, and what it uses is never to be
// taken away.
//
// A peer uses its next key where that is allowed anything: a rotation gives it
// its allowed IPs at the moment in which it takes over. The host itself uses its
// next key where the device has it, or where no device has either yet and the
// key file holds it.
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

// peersReplaced returns the places in the view of peers that use their next key.
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

// rotated is what a plan has to know of the keys that its view does not have,
// and that belong to its peers all the same.
type rotated struct {
	before map[keyring.PublicKey]keyring.PublicKey // by the next key that is in use: the old one
	old    map[keyring.PublicKey]string            // old keys, by whose they were
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
