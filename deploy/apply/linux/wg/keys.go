package wg

import (
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// keys are what was read: a change of them can be undone.
type keys struct {
	private map[keyring.PublicKey]keyring.PrivateKey
	psks    map[string]keyring.PresharedKey // by fingerprint
	held    map[string]string               // fingerprints by key file; see Hold
}

// ForgetKeys forgets the keys that were read.
func (k *keys) ForgetKeys() {
	clear(k.private)
	clear(k.psks)
}

// Hold has plans go back to these preshared keys, by key file, also where a file
// holds another one by then, or is gone.
func (k *keys) Hold(fingerprints map[string]string) { k.held = fingerprints }

// holdPrivate keeps a private key of the device and returns its public key.
func (k *keys) holdPrivate(private wgtypes.Key) keyring.PublicKey {
	key := keyring.PrivateKeyOf(private)
	public := key.PublicKey()
	k.private[public] = key
	return public
}

// holdPSK keeps a preshared key of a peer and returns its fingerprint.
func (k *keys) holdPSK(key wgtypes.Key) string {
	if key == (wgtypes.Key{}) {
		return ""
	}
	psk := keyring.PresharedKeyOf(key)
	fingerprint := psk.Fingerprint()
	k.psks[fingerprint] = psk
	return fingerprint
}

// ReadKeyFiles reads the preshared keys, and the private key where the kernel
// has not got it yet: a config change opens no private key file.
func (k *keys) ReadKeyFiles(view *tunnel.View, s *apply.State) {
	s.KeyFiles = map[string]apply.KeyFile{}
	if old, ok := k.private[view.PublicKey]; ok && s.Device.PublicKey != view.PublicKey {
		// It was the kernel's before, and is to be so again.
		s.KeyFiles[view.PrivateKeyFile] = apply.KeyFile{PublicKey: old.PublicKey()}
	} else if !ok {
		key, err := readKey(view.PrivateKeyFile, view.Host, keyring.ParsePrivateKey)
		file := apply.KeyFile{Err: err}
		if err == nil {
			file.PublicKey = key.PublicKey()
			k.private[file.PublicKey] = key
		}
		s.KeyFiles[view.PrivateKeyFile] = file
	}
	for i := range view.Peers {
		path := view.Peers[i].PresharedKeyFile
		if path == "" {
			continue
		}
		if held, ok := k.held[path]; ok {
			s.KeyFiles[path] = apply.KeyFile{Fingerprint: held}
			continue
		}
		key, err := readKey(path, view.Host, keyring.ParsePresharedKey)
		file := apply.KeyFile{Err: err}
		if err == nil {
			file.Fingerprint = key.Fingerprint()
			k.psks[file.Fingerprint] = key
		}
		s.KeyFiles[path] = file
	}
}
