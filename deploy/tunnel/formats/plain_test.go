package formats

import (
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
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
		"network.wg0=interface\nnetwork.wg0.proto='static'\n": "what `uci show` prints",
	} {
		for _, format := range []string{"", "wg-quick"} {
			_, err := Parse([]foreign.File{{Name: "wg0.conf", Text: []byte(text)}}, format, nil)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", text, err)
			}
		}
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
