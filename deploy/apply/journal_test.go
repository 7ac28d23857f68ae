package apply_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
)

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
	case apply.FilterChange:
		return c.New != nil
	case apply.DNSChange:
		return c.New != nil
	case apply.ManagerChange:
		return c.Add
	case apply.SysctlChange:
		return c.Old != ""
	case apply.DeviceChange, apply.ThreadsChange: // go with the link
		return false
	case apply.ShareChange, apply.ReleaseChange: // are never made: they are the journal's alone
		return false
	}
	panic(fmt.Sprintf("a kind of change that the tests do not know: %T", c))
}
