package formats

import (
	"os"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring/fault"
)

// TestNotPlain: for a file that is encrypted or in another encoding the error says that,
// whatever format the user gives.
func TestNotPlain(t *testing.T) {
	for text, want := range map[string]string{
		"\xef\xbb\xbf[Interface]\n[Peer]\n":                   "a byte order mark",
		"\xff\xfe[\x00I\x00":                                  "UTF-16",
		"\x00GITCRYPT\x00\x01\x02":                            "git-crypt has encrypted it",
		"$ANSIBLE_VAULT;1.1;AES256\n61\n":                     "ansible-vault has encrypted it",
		"age-encryption.org/v1\n-> X25519 a\n":                "age has encrypted it",
		"\n-----BEGIN PGP MESSAGE-----\n\nhQ\n":               "gpg has encrypted it",
		"interface: wg0\n  public key: x\n":                   "what `wg show` prints",
		"network.wg0=interface\nnetwork.wg0.proto='static'\n": "what `uci show` prints",
	} {
		for _, format := range []string{"", "wg-quick"} {
			_, err := Parse([]foreign.File{{Name: "my wg0.conf", Text: []byte(text)}}, format, nil)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", text, err)
			}
			hint := strings.Join(fault.Hints(err), "\n")
			if strings.Contains(hint, "FILE") || strings.Contains(hint, "my wg0") && !strings.Contains(hint, "'my wg0.conf'") {
				t.Errorf("%q: the hint does not run: %s", text, hint)
			}
		}
	}
}

// TestUserData: cloud-init's user data may hold files of several programs, and is none of them.
// A file of netplan may begin like it.
func TestUserData(t *testing.T) {
	const data = "#cloud-config\nwireguard:\n  interfaces:\n    - name: wg0\n      content: |\n        [Interface]\n        [Peer]\n"
	_, err := Parse([]foreign.File{{Name: "user-data", Text: []byte(data)}}, "", nil)
	if err == nil || !strings.Contains(err.Error(), "cloud-init's user data") {
		t.Error(err)
	}
	_, err = Parse([]foreign.File{{Name: "50.yaml", Text: []byte("#cloud-config\nnetwork:\n  version: 2\n")}}, "", nil)
	if err == nil || !strings.Contains(err.Error(), "no tunnel of mode wireguard") {
		t.Error(err)
	}
}

// TestNetplanBegins: a file of netplan may have anything after its first word.
func TestNetplanBegins(t *testing.T) {
	for _, text := range []string{"network:\n  tunnels: {}\n", "# cloud-init\nnetwork:  # ours\n  tunnels: {}\n",
		"network: {tunnels: {wg0: {mode: sit}}}\n"} {
		_, err := Parse([]foreign.File{{Name: "60.yaml", Text: []byte(text)}}, "", nil)
		if err == nil || !strings.Contains(err.Error(), "no tunnel of mode wireguard") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestPublicKeyFile: a public key may be in a file of its own, which is beside the .netdev or
// in its place. What is not a key is not repeated.
func TestPublicKeyFile(t *testing.T) {
	netdev := []foreign.File{{Name: "wg/wg0.netdev", Text: []byte("[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\n" +
		"PrivateKeyFile=/etc/wg/key\n[WireGuardPeer]\nAllowedIPs=10.0.0.2/32\nPublicKeyFile=/etc/wg/phone.pub\n")}}
	key := string(made("phone"))
	for place, text := range map[string]string{"wg/phone.pub": key, "/etc/wg/phone.pub": key, "/etc/other.pub": key,
		"/etc/wg/phone.pub\n": key[:40]} {
		read := func(path string) ([]byte, error) {
			if path == strings.TrimSpace(place) {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		}
		devices, err := Parse(netdev, "", read)
		switch {
		case place == "/etc/other.pub" || len(text) == 40:
			if err == nil || !strings.Contains(err.Error(), "wg/wg0.netdev:8") || strings.Contains(err.Error(), key[:20]) {
				t.Errorf("%q: %v", place, err)
			}
		case err != nil || devices[0].Peers[0].PublicKey.String() != strings.TrimSpace(key):
			t.Errorf("%q: %v", place, err)
		}
	}
}
