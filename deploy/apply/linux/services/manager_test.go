package services

import (
	"os"
	"path/filepath"
	"testing"
)

// The name of a file alone decides its order, in whatever directory it is.
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
