package participant

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
)

// A host makes one next key, which is the one until it is the present key: what is
// left beside it then is no next key.
func TestMakeKey(t *testing.T) {
	ownRun(t)
	q := rotate.Request{Tunnel: "wg0", KeyFile: filepath.Join(t.TempDir(), "wg0.key")}
	made := func(first bool) keyring.PublicKey {
		t.Helper()
		var a rotate.Answer
		q.Now = first
		if err := makeKey(context.Background(), q, &a); err != nil || a.Made.IsZero() {
			t.Fatalf("no key was made: %v", err)
		}
		return a.Made
	}
	present := made(true)
	next := made(false)
	if next == present || made(false) != next || made(true) != present {
		t.Error("not one present key and one next key")
	}
	text, err := os.ReadFile(q.KeyFile)
	if err == nil {
		err = os.WriteFile(rotate.NextFile("wg0", q.KeyFile), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if again := made(false); again == present {
		t.Error("the present key is made the next one")
	}
}
