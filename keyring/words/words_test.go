package words

import (
	"slices"
	"testing"
)

// TestForShell: a word is quoted if a shell would change it, or lose it.
func TestForShell(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"":                          "''",
		"/etc/wireguard/wg0.key":    "/etc/wireguard/wg0.key",
		"ssh://root@host:2222":      "ssh://root@host:2222",
		"ssh://root@[2001:db8::1]":  "'ssh://root@[2001:db8::1]'",
		"a b":                       "'a b'",
		"it's":                      `'it'\''s'`,
		"~":                         "'~'",
		"k=v":                       "'k=v'",
		"fe80::1%eth0":              "fe80::1%eth0",
		"22.04+dfsg-1_amd64.deb":    "22.04+dfsg-1_amd64.deb",
		"$HOME":                     "'$HOME'",
		"Vault/recipients.only.txt": "Vault/recipients.only.txt",
	} {
		if got := ForShell(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

// TestAndMore: nothing is called "0 more".
func TestAndMore(t *testing.T) {
	t.Parallel()
	for all, want := range map[int]string{1: "a", 2: "a and 1 more", 7: "a and 6 more"} {
		if got := AndMore("a", all); got != want {
			t.Errorf("%d: %s, want %s", all, got, want)
		}
	}
}

// TestNearest: what people type, and what they meant.
func TestNearest(t *testing.T) {
	t.Parallel()
	verbs := []string{"init", "gen", "push", "rotate", "rekey", "mv", "status", "show", "plan", "apply", "confirm", "down",
		"check", "install", "uninstall", "import", "export", "graph", "qr", "demo"}
	keys := []string{"listen_port", "mtu", "keepalive", "psk", "ndp_proxy", "private_key_file", "allowed_ips", "endpoint"}
	hosts := []string{"a", "b", "shale", "basalt", "web1", "web2"}
	for _, test := range []struct {
		typed string
		known []string
		want  string
	}{
		{"pussh", verbs, "push"},
		{"lpan", verbs, "plan"},
		{"ap", verbs, "apply"},
		{"STATUS", verbs, "status"},
		{"rotaet", verbs, "rotate"},
		{"unistall", verbs, "uninstall"},
		{"syncconf", verbs, ""},
		{"up", verbs, ""},
		{"h", verbs, ""},
		{"", verbs, ""},
		{"ListenPort", keys, "listen_port"},
		{"AllowedIPs", keys, "allowed_ips"},
		{"PersistentKeepalive", keys, ""},
		{"endpoints", keys, "endpoint"},
		{"private-key-file", keys, "private_key_file"},
		{"ndpproxi", keys, "ndp_proxy"},
		{"Table", keys, ""},
		{"bassalt", hosts, "basalt"},
		{"shael", hosts, "shale"},
		{"web", hosts, "web1"},
		{"web3", hosts, "web1"},
		{"c", hosts, ""},
		{"granite", hosts, ""},
		{"x", nil, ""},
	} {
		if got := Nearest(test.typed, slices.Values(test.known)); got != test.want {
			t.Errorf("%q: %q, want %q", test.typed, got, test.want)
		}
	}
}
