package wg

import (
	"bytes"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/keyring"
)

// FuzzSocket: any answer of a device in user space results in a state or an error, and no
// key is in the error.
func FuzzSocket(f *testing.F) {
	key := strings.Repeat("5a", 32)
	f.Add([]byte("private_key=" + key + "\nlisten_port=51820\nfwmark=0\npublic_key=" + key + "\npreshared_key=" + key +
		"\nendpoint=[fe80::1%eth0]:1\nlast_handshake_time_sec=1\nlast_handshake_time_nsec=2\nallowed_ip=::/0\nerrno=0\n\n"))
	f.Add([]byte("private_key=" + key + "0\n\n"))
	f.Add([]byte("private_key " + key + "\n\n"))
	f.Add([]byte(key + "=\n\n"))
	f.Add([]byte("errno=-2\n\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		a := &answer{state: &apply.State{}, expected: 1,
			keys: &keys{private: map[keyring.PublicKey]keyring.PrivateKey{}, psks: map[string]keyring.PresharedKey{}}}
		err := readSocket(bytes.NewReader(said), a)
		if err == nil {
			return
		}
		if strings.Contains(err.Error(), key) {
			t.Errorf("a key is in the error %v", err)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
