package vault

import (
	"os"
	"path/filepath"
	"testing"

	"wgkeys/keyring/files"
)

// TestMoveStaged: a file that was moved by hand is replaced in its place. What a killed
// command has staged beside it must not take that place.
func TestMoveStaged(t *testing.T) {
	v, ids := newVault(t, false)
	k := sealKey(t, v, "basalt", "wg0.key")
	path := v.Path("slate", "wg0.key")
	if err := os.Rename(filepath.Dir(v.Path("basalt", "wg0.key")), filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, files.Staged(path), "left by a killed rekey")
	slate := Name{"slate", "wg0.key"}
	m := &Move{From: Name{"basalt", "wg0.key"}, To: slate, At: slate}
	if err := m.Prepare(v, ids, k.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(v); err != nil {
		t.Error(err)
	}
	if _, err := v.OpenKey("slate", "wg0.key", k.PublicKey(), ids); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(files.Staged(path)); !os.IsNotExist(err) {
		t.Errorf("what was staged is still there: %v", err)
	}
}
