package keys

import (
	"wgkeys/keyring"

	"wgkeys/deploy/tunnel"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/vault"
)

// Secrets opens the private key of the view's host and the preshared keys with its peers,
// with one touch of a hardware key.
func (m *Maker) Secrets(v *tunnel.View) (foreign.Secrets, error) {
	s := foreign.Secrets{PresharedKeys: map[string]keyring.PresharedKey{}}
	own := vault.Name{Host: v.Host, File: vault.KeyFile(v.Tunnel)}
	all := []vault.Name{own}
	for i := range v.Peers {
		if v.Peers[i].PresharedKeyFile != "" {
			all = append(all, vault.Name{Host: v.Host, File: vault.PSKFile(v.Tunnel, v.Peers[i].Name)})
		}
	}
	if err := m.IDs.Prepare(m.Repo.Vault, all); err != nil {
		return s, err
	}
	_, err := m.Repo.Vault.Meta(own.Host, own.File)
	m.tellByHand(err)
	if s.PrivateKey, err = m.Repo.Vault.OpenKey(own.Host, own.File, v.PublicKey, m.IDs); err != nil {
		return s, err
	}
	for i := range v.Peers {
		p := &v.Peers[i]
		if p.PresharedKeyFile == "" {
			continue
		}
		mine, _, err := m.Repo.PSK(v.Tunnel, v.Host, p.Name)
		if err == nil {
			err = mine.Err
		}
		if err != nil {
			return s, err
		}
		if s.PresharedKeys[p.Name], err = m.Repo.Vault.OpenPSK(mine.Host, mine.File, mine.PSK, m.IDs); err != nil {
			return s, err
		}
	}
	return s, nil
}
