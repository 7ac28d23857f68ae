package repo

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
)

// RequireCheckedOut refuses a working tree without all that git has of some hosts, or of
// all where none is named: what is not there would get a second key, or be left as it is.
// So it does where git does not answer: nobody knows then what is not there.
func (r *Repo) RequireCheckedOut(ctx context.Context, hosts ...string) error {
	return RequireIn(IndexOnce(ctx, r), r, hosts...)
}

// RequireIn is [Repo.RequireCheckedOut] for who has more to ask of git's index.
func RequireIn(index IndexOf, r *Repo, hosts ...string) error {
	return missing(r, index, func(name string) bool {
		return len(hosts) == 0 || slices.Contains(hosts, path.Base(path.Dir(name))) || path.Ext(name) == "" // a submodule
	})
}

const NotCheckedOut = "not checked out:"

// missing is about those files of git that are not there and matter.
func missing(r *Repo, index IndexOf, matters func(name string) bool) error {
	trees, err := r.Trees()
	if err != nil {
		return err
	}
	for _, t := range trees {
		has, err := index(t.Top)
		if err != nil {
			return err
		}
		missing := has.NotCheckedOut(t.Folders...)
		if i := slices.IndexFunc(missing, matters); i >= 0 {
			return fault.NewFile(NotCheckedOut, filepath.Join(t.Top, missing[i]),
				"the working tree has not all of vault and keyring, and which keys are in use is not known",
				fmt.Sprintf("git -C %[1]s sparse-checkout disable; of a submodule: git -C %[1]s submodule update --init",
					ui.Quoted(t.Top)))
		}
	}
	return nil
}

// A workTree is a working tree, and those of vault and keyring that git has there.
type workTree struct {
	Top     string
	Folders []string
}

// Trees are those that vault and keyring lie in, so that git is asked once for each. A
// submodule is a file of the one that it is in, and has its own.
func (r *Repo) Trees() (all []workTree, err error) {
	for _, dir := range []string{r.Vault.Dir, r.Ring.Dir} {
		folder, err := filepath.EvalSymlinks(dir)
		if err != nil { // there is none
			if folder, err = filepath.EvalSymlinks(r.Dir); err != nil {
				return nil, err
			}
			folder = filepath.Join(folder, filepath.Base(dir))
		}
		for _, in := range []string{filepath.Dir(folder), folder} {
			top, err := git.Top(in)
			if err != nil {
				continue
			}
			i := slices.IndexFunc(all, func(t workTree) bool { return t.Top == top })
			if i < 0 {
				i, all = len(all), append(all, workTree{Top: top})
			}
			if !slices.Contains(all[i].Folders, folder) {
				all[i].Folders = append(all[i].Folders, folder)
			}
		}
	}
	return all, nil
}

// NarrowClones tells of clones that do not have all branches: what was there nobody knows here.
func (r *Repo) NarrowClones(ctx context.Context) (all []error) {
	for _, top := range r.Tops() {
		if err := git.Narrow(ctx, top); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Tops are the working trees that the repository lies in: vault and keyring may be
// submodules, which have a history of their own. It is nil where there is no git.
func (r *Repo) Tops() (all []string) {
	for _, dir := range []string{r.Dir, r.Vault.Dir, r.Ring.Dir} {
		if top, err := git.Top(dir); err == nil && !slices.Contains(all, top) {
			all = append(all, top)
		}
	}
	return all
}
