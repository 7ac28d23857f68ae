package wg

import (
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// keys are the secret keys that were read, so that a change of them can be undone.
type keys struct {
	private map[keyring.PublicKey]keyring.PrivateKey
	psks    map[string]keyring.PresharedKey // by fingerprint
	held    map[string]string               // fingerprints, by key file; see [keys.Hold]
}

// ForgetKeys drops the keys that were read.
func (k *keys) ForgetKeys() {
	clear(k.private)
	clear(k.psks)
}

// Hold makes plans use the preshared keys with these fingerprints, by key file, even where
// the file holds another key by then or is gone.
func (k *keys) Hold(fingerprints map[string]string) { k.held = fingerprints }

// holdPrivate keeps a private key of the device and returns its public key.
func (k *keys) holdPrivate(private wgtypes.Key) keyring.PublicKey {
	key := keyring.PrivateKeyOf(private)
	public := key.PublicKey()
	k.private[public] = key
	return public
}

// holdPSK keeps a preshared key of a peer and returns its fingerprint, or "" for none.
func (k *keys) holdPSK(key wgtypes.Key) string {
	if key == (wgtypes.Key{}) {
		return ""
	}
	psk := keyring.PresharedKeyOf(key)
	fingerprint := psk.Fingerprint()
	k.psks[fingerprint] = psk
	return fingerprint
}

// ReadKeyFiles reads the preshared keys, and the private key if the kernel does not have
// it: a change of the configuration alone opens no private key file.
func (k *keys) ReadKeyFiles(view *tunnel.View, s *apply.State) {
	s.KeyFiles = map[string]apply.KeyFile{}
	if old, ok := k.private[view.PublicKey]; ok && s.Device.PublicKey != view.PublicKey {
		// The device had this key before, and is to have it again.
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
