package needs

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/files"
)

// Fresh returns the signs for the parameters that the plan is the first to set. Call it
// before the plan runs.
func Fresh(nl *netlink.Handle, plan *apply.Plan, entries journal.Entries) Signs {
	keys, now := map[string]bool{}, map[string]string{}
	for _, step := range plan.Steps {
		if c, ok := step.Change.(apply.SysctlChange); ok && c.New != c.Old {
			if _, had := entries[c.Resource()]; !had {
				keys[c.Key], now[c.Key] = true, c.New
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found := find(nl, keys, now, entries)
	for key := range keys {
		// An empty list says that the parameter is known and nobody needs it.
		found[key] = slices.Concat([]string{}, found[key])
	}
	return found
}

// Remember stores the signs once the plan has run. If that fails, down puts back the old
// values, as it does without any signs.
func Remember(dir, name string, fresh Signs) {
	if fresh == nil {
		return
	}
	all, err := read(dir, name)
	if err != nil {
		all = Signs{}
	}
	maps.Copy(all, fresh)
	if text, err := json.Marshal(all); err == nil {
		files.Replace(journal.NeedsPath(dir, name), bytes.NewReader(text), files.Replacement{Mode: 0o600, Unsynced: true})
	}
}

func read(dir, name string) (Signs, error) {
	text, err := os.ReadFile(journal.NeedsPath(dir, name))
	if err != nil {
		return nil, err
	}
	var all Signs
	err = json.Unmarshal(text, &all)
	return all, err
}
