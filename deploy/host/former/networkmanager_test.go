package former

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMadeUp: of the profiles that end with the host's run those are NetworkManager's own
// that say so in their group .nmmeta, and in no other.
func TestMadeUp(t *testing.T) {
	const user = "[connection]\nid=office\ntype=wireguard\ninterface-name=wg0\n"
	for text, want := range map[string]bool{
		user: false,
		user + "\n[.nmmeta]\nnm-generated=true\nvolatile=true\nexternal=true\n": true,
		"[.nmmeta]\nexternal=true\n\n" + user:                                   true,
		user + "[user]\nnm-generated=true\n":                                    false,
		user + "[.nmmeta]\nvolatile=true\n":                                     false,
	} {
		if got := madeUp(text); got != want {
			t.Errorf("%v of\n%s", got, text)
		}
	}
	file := filepath.Join(t.TempDir(), "office.nmconnection")
	if err := os.WriteFile(file, []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
	if (nmProfile{file: file}).passing() || !(nmProfile{}).passing() {
		t.Error("a profile with a file stays, and one without does not")
	}
}
