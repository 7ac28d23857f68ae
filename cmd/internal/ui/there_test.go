package ui

import "testing"

// TestThere: a hint that belongs to a repository which was named with -C says where.
func TestThere(t *testing.T) {
	for _, hint := range []struct{ is, there string }{
		{"git log -- /home/a/net/vault/b/wg0.key.age", "in ../net: git log -- /home/a/net/vault/b/wg0.key.age"},
		{"edit it; then wgkeys rekey", "in ../net: edit it; then wgkeys rekey"},
		{"cat keyring/b/wg0.pub", "in ../net: cat keyring/b/wg0.pub"},
		{"on b: wgkeys apply", "on b: wgkeys apply"},
		{"ls -ld /etc/wireguard", "ls -ld /etc/wireguard"},
		{"ssh-add", "ssh-add"},
		{"git -C /home/a/net fetch origin", "git -C /home/a/net fetch origin"},
		{"git init /home/a/net", "git init /home/a/net"},
	} {
		if got := (&UI{Folder: "../net"}).There(hint.is); got != hint.there {
			t.Errorf("%q: %q", hint.is, got)
		}
		if got := (&UI{}).There(hint.is); got != hint.is {
			t.Errorf("in the repository, %q: %q", hint.is, got)
		}
	}
}

// TestThereAs: a command on the host that this machine was said to be says so again.
func TestThereAs(t *testing.T) {
	for hint, want := range map[string]string{
		"wgkeys push basalt":                       "wgkeys push --host basalt basalt",
		"git pull, then wgkeys push -t wg0 basalt": "git pull, then wgkeys push -t wg0 --host basalt basalt",
		"wgkeys push shale":                        "wgkeys push shale",
		"wgkeys push --host basalt basalt":         "wgkeys push --host basalt basalt",
		"wgkeys rotate basalt":                     "wgkeys rotate --host basalt basalt",
	} {
		if got := (&UI{Self: "basalt"}).There(hint); got != want {
			t.Errorf("%q: %q", hint, got)
		}
		if got := (&UI{}).There(hint); got != hint {
			t.Errorf("without --host, %q: %q", hint, got)
		}
	}
}

func TestElsewhere(t *testing.T) {
	for _, x := range []struct {
		here, folder string
		is           bool
	}{
		{"/home/a/net", "", false}, {"/home/a/net", ".", false}, {"/home/a/net/tunnels", "..", false},
		{"/home/a/net/tunnels", "/home/a/net", false},
		{"/home/a", "net", true}, {"/home/a", "/home/a/net", true}, {"/home/a/net", "../other", true},
		{"/home/a/network", "/home/a/net", true},
	} {
		if got := Elsewhere(x.here, x.folder); got != x.is {
			t.Errorf("in %s, -C %q: %v", x.here, x.folder, got)
		}
	}
}
