package former

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wgkeys/keyring/fault"
)

// TestNetplan: the refusal names the file that has the tunnel, and what to run.
func TestNetplan(t *testing.T) {
	const tunnel = "    wg0:\n      mode: wireguard\n      key: /etc/wireguard/wg0.key\n"
	was := netplanDirs
	defer func() { netplanDirs = was }()
	for _, c := range []struct{ text, why, hint string }{
		{"network:\n  version: 2\n  renderer: networkd\n  tunnels:\n" + tunnel, "has it, and nothing else",
			"mv FILE FILE.off; then netplan generate"},
		{"network:\n  tunnels:\n" + tunnel + "    wg1: {mode: wireguard}\n", "has it, with others",
			"take wg0 out of tunnels: in FILE; then"},
		{"network:\n  ethernets:\n    eth0: {dhcp4: true}\n  tunnels:\n" + tunnel, "has it, with others",
			"take wg0 out of tunnels: in FILE; then"},
		{"network:\n  tunnels:\n    wg1: {mode: wireguard}\n", "no file of netplan has it any more",
			"netplan generate, which"},
		{"network: [\n", "cannot be read, and may have it", "take wg0 out of it, or mend it; then netplan generate, which"},
	} {
		netplanDirs = []string{filepath.Join(t.TempDir(), "none"), t.TempDir()}
		file := filepath.Join(netplanDirs[1], "50-wg.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := ofNetplan("wg0")
		hint := strings.ReplaceAll(strings.Join(fault.Hints(err), ""), file, "FILE")
		if !strings.Contains(err.Error(), c.why) || !strings.HasPrefix(hint, c.hint) {
			t.Errorf("%v\n%s\n%s", err, hint, c.text)
		}
	}
}
