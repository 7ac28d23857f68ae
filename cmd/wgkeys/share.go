package main

import (
	"context"
	"io/fs"

	"wgkeys/keyring/git"
)

// shared are the bits of a mode that files in dir get for others, where git is told
// that they share the repository. Where git does not answer the verbs say so that need
// to know more of it.
func shared(ctx context.Context, dir string) fs.FileMode {
	if _, err := git.Top(dir); err != nil {
		return 0
	}
	mode, _ := git.Shared(ctx, dir)
	return mode
}

// share has the files that are made from now on be for others too.
func (r *repo) share(mode fs.FileMode) { r.ring.Shared, r.vault.Shared = mode, mode }
