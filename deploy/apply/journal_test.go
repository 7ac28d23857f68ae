package apply_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/keyring/fault"
)

func writeJournal(t testing.TB, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "wg0.journal"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadJournal(t *testing.T) {
	const header = "wgkeys journal 1\n"
	const link = "+\tlink wg0\t\tmade\n"
	const sysctl = "+\tsysctl net/a/b\t0\t1\n"
	tests := []struct {
		name, text string
		order      []string
		err        string
	}{
		{name: "empty"},
		{name: "torn header", text: "wgkeys jour"},
		{name: "header only", text: header},
		{name: "one", text: header + link, order: []string{"link wg0"}},
		{name: "order", text: header + sysctl + link, order: []string{"sysctl net/a/b", "link wg0"}},
		{name: "touched twice", text: header + sysctl + link + sysctl, order: []string{"sysctl net/a/b", "link wg0"}},
		{name: "gone", text: header + sysctl + link + "-\tlink wg0\n", order: []string{"sysctl net/a/b"}},
		{name: "gone and back", text: header + link + sysctl + "-\tlink wg0\n" + link, order: []string{"sysctl net/a/b", "link wg0"}},
		{name: "torn entry", text: header + link + sysctl[:len(sysctl)-1], order: []string{"link wg0"}},
		{name: "torn removal", text: header + link + "-\tlink wg0", order: []string{"link wg0"}},
		{name: "another version", text: "wgkeys journal 2\n" + link, err: "another version"},
		{name: "another file", text: "[Interface]\nPrivateKey = secret\n", err: "another version"},
		{name: "damaged", text: header + "+\tlink wg0\n" + link, err: "damaged"},
		{name: "two headers", text: header + header, err: "damaged"},
		{name: "not text", text: header + "\x00\x01\x02\n", err: "damaged"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		writeJournal(t, dir, test.text)
		j, err := apply.OpenJournal(dir, "wg0")
		if test.err != "" {
			var f *fault.Fault
			if !errors.As(err, &f) || !strings.Contains(err.Error(), test.err) || !strings.Contains(f.Who, dir) {
				t.Errorf("%s: %v", test.name, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error quotes the file: %v", test.name, err)
			}
			if err == nil || len(fault.Hints(err)) == 0 {
				t.Errorf("%s: no hint", test.name)
			}
			_, damaged, err := apply.Others(dir, "wg1")
			if err != nil || len(damaged) != 1 || !strings.Contains(damaged[0].Error(), test.err) || len(fault.Hints(damaged[0])) == 0 {
				t.Errorf("%s: another tunnel is told %v, %v", test.name, damaged, err)
			}
			continue
		}
		if err != nil || cmp.Diff(test.order, j.Order, cmpEmpty) != "" || len(j.Entries) != len(test.order) {
			t.Errorf("%s: %v %v, %v", test.name, j.Order, j.Entries, err)
		}
	}
}

// TestReopen: at each change of many the file says what the memory says, and
// only root reads it.
func TestReopen(t *testing.T) {
	for seed := range 60 {
		r := random(seed)
		h := newHost(t)
		for range 3 {
			v := applytest.View(r, "wg0")
			plan, j := h.plan(t, v)
			h.hook = func(m moment, _ int, c apply.Change) error {
				if m == before {
					checkReopened(t, h, j)
					if _, known := j.Entries[c.Resource()]; !known && needsEntry(c) {
						t.Errorf("%s is about to be made, and the journal does not know of %s", c, c.Resource())
					}
				}
				return nil
			}
			if err := apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {}); err != nil {
				t.Fatal(err)
			}
			h.hook = nil
			checkReopened(t, h, j)
		}
		info, err := os.Stat(filepath.Join(h.dir, "wg0.journal"))
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("%v, %v", info.Mode(), err)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// needsEntry reports whether down would have to know of c.
func needsEntry(c apply.Change) bool {
	switch c := c.(type) {
	case apply.LinkChange:
		return c.New != nil
	case apply.PeerChange:
		return c.Old == nil
	case apply.AddressChange:
		return c.Add
	case apply.RouteChange:
		return c.New != nil
	case apply.RuleChange:
		return c.Add
	case apply.UnreachableChange:
		return c.Add
	case apply.ProxyChange:
		return c.Add
	case apply.SysctlChange:
		return c.Old != ""
	}
	return false
}

// FuzzJournal: whatever the file holds, reading it does not panic, and what is
// taken from it is whole: each resource once and in order.
func FuzzJournal(f *testing.F) {
	f.Add("")
	f.Add("wgkeys journal 1\n+\tlink wg0\t\tmade\n-\tlink wg0\n")
	f.Add("wgkeys journal 1\n+\tsysctl net/a/b\t0\t1\n+\tsysctl net/a/b\t0\t2\n-\tx\n+\tlink wg0\t\tmade\n+\ttorn")
	f.Add("wgkeys journal 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		writeJournal(t, dir, text)
		j, err := apply.OpenJournal(dir, "wg0")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, resource := range j.Order {
			if _, ok := j.Entries[resource]; !ok || seen[resource] {
				t.Errorf("%q is in order twice or without an entry", resource)
			}
			seen[resource] = true
		}
		if len(seen) != len(j.Entries) {
			t.Errorf("%d in order, %d entries", len(seen), len(j.Entries))
		}
		apply.MakeDown("wg0", &apply.State{Link: &apply.Link{}, Sysctls: map[string]string{"net/a/b": "1"}}, j, nil)
	})
}
