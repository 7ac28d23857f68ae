package tunnel

import (
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// SetNext notes in v the public keys that a rotation is changing hosts to, by
// name. Which of its two keys a host uses is for apply to find out there. A next
// key that a host has already is an error: a rotation never makes one.
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
			errs = append(errs, fault.NewFile("no next key, but one in use,", file, "the same key is in "+other,
				"git log -p -- "+file))
		}
		used[k], *into = file, k
	}
	take(v.Host, &v.NextPublicKey)
	for i := range v.Peers {
		take(v.Peers[i].Name, &v.Peers[i].NextPublicKey)
	}
	return join(errs)
}
