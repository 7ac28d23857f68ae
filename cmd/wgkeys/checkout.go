package main

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// whole refuses a working tree without all of vault and keyring: which keys there are
// is read from there.
func (r *repo) whole(ctx context.Context) error {
	return r.missing(ctx, func(string) bool { return true })
}

// has refuses a working tree without all that git has of some hosts, or of all where
// none is named: what is not there would get a second key, or be left as it is. So does
// one of which git does not answer: nobody knows then what is not there.
func (r *repo) has(ctx context.Context, hosts []string) error {
	return r.missing(ctx, func(name string) bool {
		return len(hosts) == 0 || slices.Contains(hosts, path.Base(path.Dir(name))) || path.Ext(name) == "" // a submodule
	})
}

const notCheckedOut = "not checked out:"

// missing is about those files of git that are not there and matter.
func (r *repo) missing(ctx context.Context, matters func(name string) bool) error {
	trees, err := r.trees()
	if err != nil {
		return err
	}
	for _, t := range trees {
		missing, err := git.NotCheckedOut(ctx, t.top, t.folders...)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(missing, matters); i >= 0 {
			return fault.New(notCheckedOut, filepath.Join(t.top, missing[i]), "the working tree has not all of vault and keyring, and which keys are in use is not known",
				fmt.Sprintf("git -C %[1]s sparse-checkout disable; of a submodule: git -C %[1]s submodule update --init", ui.Quoted(t.top)))
		}
	}
	return nil
}

// A workTree is a working tree, and those of vault and keyring that git has there.
type workTree struct {
	top     string
	folders []string
}

// trees are those that vault and keyring lie in, so that git is asked once for each. A
// submodule is a file of the one that it is in, and has its own.
func (r *repo) trees() (all []workTree, err error) {
	for _, dir := range []string{r.vault.Dir, r.ring.Dir} {
		folder, err := filepath.EvalSymlinks(dir)
		if err != nil { // there is none
			if folder, err = filepath.EvalSymlinks(r.dir); err != nil {
				return nil, err
			}
			folder = filepath.Join(folder, filepath.Base(dir))
		}
		for _, in := range []string{filepath.Dir(folder), folder} {
			top, err := git.Top(in)
			if err != nil {
				continue
			}
			i := slices.IndexFunc(all, func(t workTree) bool { return t.top == top })
			if i < 0 {
				i, all = len(all), append(all, workTree{top: top})
			}
			if !slices.Contains(all[i].folders, folder) {
				all[i].folders = append(all[i].folders, folder)
			}
		}
	}
	return all, nil
}

// onlyCopies refuses to encrypt to others alone what no commit has yet: a line of a list
// that a slip has lost would be noticed when nobody is left who opens the files. Of what
// is committed the older version opens still.
func (r *repo) onlyCopies(ctx context.Context, ids *vault.Identities, stale []vault.Stale) error {
	top, err := git.Top(r.vault.Dir)
	mine, mineErr := ids.Recipients()
	if err != nil || mineErr != nil || len(mine) == 0 || ids.Untold() {
		return nil // nothing to compare with
	}
	lists := r.vault.Lists()
	var shut []string
	for _, s := range stale {
		rs, err := lists.Of(s.Host)
		if err == nil && !s.Sealed && !slices.ContainsFunc(rs, func(r vault.Recipient) bool { return slices.Contains(mine, r.Text) }) {
			shut = append(shut, r.vault.Path(s.Host, s.File))
		}
	}
	if len(shut) == 0 {
		return nil
	}
	changed, err := git.Changed(ctx, r.dir, r.vault.Dir)
	if err != nil {
		return err
	}
	for _, path := range shut {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		if name, err := filepath.Rel(top, real); err == nil && slices.Contains(changed, name) {
			return fault.New("you could not open it any more, and no commit has it:", path, "the lists name others alone, and none of the identities of this run; nothing was written",
				fmt.Sprintf("git -C %[1]s add -A -- vault && git -C %[1]s commit, then this again", ui.Quoted(r.dir)))
		}
	}
	return nil
}

// gits finds what git has of vault and keyring and the working tree has not, and what
// no commit takes.
func (c *checker) gits(ctx context.Context) {
	if err := c.repo.has(ctx, nil); err != nil {
		c.fault(finding{Check: "checkout"}, err)
	}
	c.merges(ctx)
	trees, _ := c.repo.trees() // an error is one of reading, which others tell
	for _, t := range trees {
		ignored, err := git.Ignored(ctx, t.top, t.folders...)
		if err != nil { // why is told once
			c.fault(finding{Check: "checkout"}, err)
			continue
		}
		for _, name := range ignored {
			if isKeyFile(name) || isRecipients(name) {
				c.add(finding{Check: "ignored", Hint: fmt.Sprintf("git -C %s check-ignore -v -- %s", ui.Quoted(t.top), ui.Quoted(name))}, filepath.Join(t.top, name), 0,
					"git ignores %q: no commit takes it, and no clone has it", name)
			}
		}
	}
}

// sayNothing tells that nothing was found, and where nobody was asked who knows more.
func (e *env) sayNothing(r *repo) {
	if r.tops() == nil {
		e.ui.Say("nothing found in the files; they are not in git, so nobody knows what is in no commit, and there is no history: git init %s", ui.Quoted(r.dir))
		return
	}
	e.ui.Say("nothing found")
}

// narrow tells of clones that do not have all branches: what was there nobody knows here.
func (r *repo) narrow(ctx context.Context) (all []error) {
	for _, top := range r.tops() {
		if err := git.Narrow(ctx, top); err != nil {
			all = append(all, err)
		}
	}
	return all
}
