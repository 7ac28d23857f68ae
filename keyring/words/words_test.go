package words

import (
	"slices"
	"testing"
)

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
