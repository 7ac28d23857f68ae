package linux

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTakenByNetworkd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "7")
	for text, want := range map[string]string{
		"ADMIN_STATE=unmanaged\nOPER_STATE=carrier\n":                                        "",
		"ADMIN_STATE=pending\n":                                                              "",
		"ADMIN_STATE=configuring\nNETWORK_FILE=/etc/systemd/network/50-all.network\n":        "configuring by /etc/systemd/network/50-all.network",
		"# a comment\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/a.network\n": "configured by /etc/systemd/network/a.network",
		"ADMIN_STATE=failed\n":                                                               "failed",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := takenByNetworkd(file); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := takenByNetworkd(file + ".gone"); got != "" {
		t.Errorf("a link that networkd does not know is %q", got)
	}
}

// Which file comes first is said by its name alone, in whatever folder it is.
func TestPrecedes(t *testing.T) {
	for name, want := range map[string]bool{
		"00-any.network": true, "0-any.network": true, "05-v.network": true, "-x.network": true,
		"05-wgkeys-wg1.network": false, "-wgkeys-wg1.network": false,
		"05-x.network": false, "10-any.network": false, "00-any.netdev": false, "any.network": false,
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := precedes([]string{folder + ".gone", folder}, "05-wgkeys-wg0.network"); got != want {
			t.Errorf("%s before ours: %v", name, got)
		}
	}
}
