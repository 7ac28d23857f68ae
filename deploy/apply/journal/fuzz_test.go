package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// FuzzPending: whatever the file of an apply that waits holds, it is that of an apply, or
// damaged, which reverts it; and what is read from it is written as it was read.
func FuzzPending(f *testing.F) {
	f.Add([]byte(`{"token":"a","deadline":30000000000,"before":null,"after":{"tunnel":"wg0"},"guarded":true}`))
	f.Add([]byte(`{"token":"a","deadline":1`))
	f.Add([]byte(`null`))
	views, err := filepath.Glob("../../tunnel/testdata/views/*/*.json")
	if err != nil || len(views) == 0 {
		f.Fatalf("%d views, %v", len(views), err)
	}
	for _, name := range views {
		view, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(fmt.Appendf(nil, `{"token":"a","deadline":1,"before":%s,"after":%[1]s}`, view))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "wg0.pending"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := journal.ReadPending(dir, "wg0")
		if p == nil || err != nil {
			t.Fatalf("%v, %v", p, err)
		}
		p.Left()
		for _, v := range []*tunnel.View{p.Before, p.After} {
			if v != nil && v.Validate() != nil {
				return // no apply has written this
			}
		}
		if !p.Damaged {
			comesBack(t, dir, p)
		}
	})
}

// comesBack: what is written is read as it was.
func comesBack(t *testing.T, dir string, p *journal.Pending) {
	t.Helper()
	if err := p.Write(dir, "wg0"); err != nil {
		t.Fatal(err)
	}
	back, err := journal.ReadPending(dir, "wg0")
	if err != nil {
		t.Fatal(err)
	}
	once, _ := json.Marshal(p)
	if twice, _ := json.Marshal(back); !bytes.Equal(once, twice) || back.Damaged {
		t.Errorf("%s came back as %s", once, twice)
	}
}
