package wg

import "wgkeys/keyring"

// ReadPrivateKey reads a private key file that only its owner can read. Host is
// whose it is, for the hint.
func ReadPrivateKey(path, host string) (keyring.PrivateKey, error) {
	return readKey(path, host, keyring.ParsePrivateKey)
}

// ReadPresharedKey is [ReadPrivateKey] for a preshared key file.
func ReadPresharedKey(path, host string) (keyring.PresharedKey, error) {
	return readKey(path, host, keyring.ParsePresharedKey)
}
