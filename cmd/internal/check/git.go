package check

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/git"
)

// gits finds what git has of vault and keyring and the working tree has not, and what
// no commit takes.
func (c *checker) gits(ctx context.Context) {
	index := repo.IndexOnce(ctx, c.repo)
	if err := repo.RequireIn(index, c.repo); err != nil {
		c.fault(Finding{Check: "checkout"}, err)
	}
	c.merges(ctx, index)
	trees, _ := c.repo.Trees() // an error is one of reading, which others tell
	for _, t := range trees {
		has, err := index(t.Top)
		if err == nil && !repo.HasUntracked(c.repo, t, has, matters) {
			continue // for git looks at each file to tell
		}
		var ignored []string
		if err == nil {
			ignored, err = git.Ignored(ctx, t.Top, t.Folders...)
		}
		if err != nil { // why is told once
			c.fault(Finding{Check: "checkout"}, err)
			continue
		}
		for _, name := range ignored {
			if matters(name) {
				c.add(Finding{Check: "ignored", Hint: fmt.Sprintf("git -C %s check-ignore -v -- %s", ui.Quoted(t.Top),
					ui.Quoted(name))}, filepath.Join(t.Top, name), 0,
					"git ignores %q: no commit takes it, and no clone has it", name)
			}
		}
	}
}

// matters tells whether a file is one of keys, or says who can open them.
func matters(name string) bool { return repo.IsKeyFile(name) || repo.IsRecipients(name) }

// merges finds what a merge has left, and tells the way out of it.
func (c *checker) merges(ctx context.Context, index repo.IndexOf) {
	all, err := repo.UnmergedIn(ctx, c.repo, index)
	if err != nil {
		c.fault(Finding{Check: "checkout"}, err)
		return
	}
	if len(all) == 0 {
		return
	}
	op, err := git.Underway(ctx, all[0].Top)
	if err != nil || op.Name == "" {
		op = git.Operation{Name: "a merge", Finish: "status"}
	}
	seen := map[string]bool{}
	var alike []repo.Unmerged
	for _, u := range all {
		seen[c.relative(u.FullPath)], seen[u.FullPath] = true, true
		if u.File != "" && u.Alike() {
			alike = append(alike, u)
			continue
		}
		c.merge(u, op)
	}
	if n := len(alike); n > 0 {
		c.add(Finding{Check: "merge",
			Hint: fmt.Sprintf("wgkeys rekey, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s %[3]s", ui.Quoted(alike[0].Top),
				ui.Quoted(vaultOf(alike[0])), op.Finish)},
			alike[0].FullPath, 0, "%s is not finished: both sides have encrypted %s again", op.Name,
			repo.Counted(repo.FilesOf(alike)))
	}
	c.found = slices.DeleteFunc(c.found, func(f Finding) bool {
		return seen[f.File] && f.conflict
	})
}

// vaultOf is the vault, as seen from the top of git's working tree.
func vaultOf(u repo.Unmerged) string { return filepath.Dir(filepath.Dir(u.Path)) }

// merge finds one file that only a person can decide.
func (c *checker) merge(u repo.Unmerged, op git.Operation) {
	g := "git -C " + ui.Quoted(u.Top)
	path := ui.Quoted(u.Path)
	f := Finding{Check: "merge", Host: u.Host}
	what := fmt.Sprintf("%s is not finished: both sides have changed %q", op.Name, c.relative(u.FullPath))
	if u.Ours.ID == "" || u.Theirs.ID == "" {
		what = fmt.Sprintf("%s is not finished: one side has removed %q, and the other has changed it", op.Name,
			c.relative(u.FullPath))
		f.Hint = fmt.Sprintf("%[1]s rm -q -- %[2]s, or to keep it: %[1]s add -- %[2]s; and %[1]s %[3]s", g, path, op.Finish)
	} else if u.Host != "" {
		above := filepath.Dir(filepath.Dir(filepath.Dir(u.Path)))
		both := ui.Quoted(filepath.Join(above, "keyring", u.Host)) + " " + ui.Quoted(filepath.Join(above, "vault", u.Host))
		what += ", to another key each; wgkeys status tells which one the host has"
		f.Hint = fmt.Sprintf("%[1]s checkout --ours -- %[2]s, or with --theirs; then wgkeys rekey %[3]s, %[1]s add -A -- %[2]s and %[1]s %[4]s", g, both, u.Host, op.Finish)
	} else {
		f.Hint = fmt.Sprintf("keep in %[1]s what shall stay of both, without the lines <<<<<<<, ======= and >>>>>>>; then %[2]s add -- %[3]s", ui.Quoted(u.FullPath), g, path)
	}
	c.add(f, u.FullPath, 0, "%s", what)
}
