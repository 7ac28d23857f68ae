// Package check finds what is wrong in a repository, and what a former recipient could
// read. It writes nothing, and needs an identity only to try whether files open.
package check

import (
	"context"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/vault"
)

// Options say what to check.
type Options struct {
	Only       string            // the tunnel; "": all, and keys that no tunnel names
	Identities *vault.Identities // open every vault file with these; nil: open none
	History    bool              // also search git's history for secrets
	Places     []vault.Place     // where the user's identities are
}

// Run checks the repository.
func Run(ctx context.Context, r *repo.Repo, o Options) ([]Finding, error) {
	names, err := r.TunnelNames(o.Only)
	if err != nil {
		return nil, err
	}
	c := &checker{report: report{dir: r.Dir}, repo: r, now: time.Now(), lists: newRecipientLists(r), ids: o.Identities,
		all: o.Only == "", places: o.Places}
	if c.ids != nil {
		if err := prepareAll(r, c.ids); err != nil {
			return nil, err
		}
	}
	if err := c.tunnels(names); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // an interrupted check would report files that it did not open
		return nil, vault.ErrInterrupted
	}
	c.duplicates()
	c.shared()
	index := repo.IndexOnce(ctx, r)
	c.checkout(index)
	if !c.all {
		return unique(c.found), nil
	}
	c.portable()
	c.modes()
	c.gits(ctx, index)
	if err := c.orphaned(); err != nil {
		return nil, err
	}
	c.hintRename()
	hintKeyElsewhere(c)
	hintMeanwhile(c)
	hintNextElsewhere(c)
	if err := c.secrets(); err != nil || !o.History {
		return unique(c.found), err
	}
	past, err := pastSecrets(ctx, r)
	return unique(append(c.found, past...)), err
}
