package tunnel

import (
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// SetNext sets in v the next keys of hosts whose keys are being rotated, by name. Apply finds
// out on the host which of the two keys it uses. A next key that is in use already is an
// error: a rotation always makes a new one.
func (v *View) SetNext(next map[string]keyring.PublicKey) error {
	if len(next) == 0 {
		return nil
	}
	used := make(map[keyring.PublicKey]string, len(v.Peers)+1)
	used[v.PublicKey] = pubFile(v.Host, v.Tunnel)
	for i := range v.Peers {
		used[v.Peers[i].PublicKey] = pubFile(v.Peers[i].Name, v.Tunnel)
	}
	var errs []error
	take := func(host string, into *keyring.PublicKey) {
		k, ok := next[host]
		if !ok {
			return
		}
		file := pubFile(host, keyring.Next(v.Tunnel))
		if other, ok := used[k]; ok {
			errs = append(errs, fault.NewFile("a next key is in use already:", file, "the same key is in "+other,
				"git log -p -- "+words.ForShell(file)))
		}
		used[k], *into = file, k
	}
	take(v.Host, &v.NextPublicKey)
	for i := range v.Peers {
		take(v.Peers[i].Name, &v.Peers[i].NextPublicKey)
	}
	return join(errs)
}
