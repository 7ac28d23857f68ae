package repo

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
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
			return errAway(t.Top, missing[i], "vault and keyring, and which keys are in use")
		}
	}
	return nil
}

func errAway(top, name, what string) error {
	return fault.NewFile(NotCheckedOut, filepath.Join(top, name), "the working tree has not all of "+what+" is not known",
		fmt.Sprintf("git -C %[1]s sparse-checkout disable; of a submodule: git -C %[1]s submodule update --init",
			ui.Quoted(top)))
}

// RequireTunnels refuses a working tree without a tunnel file that git has: which hosts no
// tunnel names is not known then.
func RequireTunnels(index IndexOf, r *Repo) error {
	dir, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return err
	}
	top, err := git.Top(dir)
	if err != nil {
		return nil // there is no git, see others
	}
	has, err := index(top)
	if err != nil {
		return nil // likewise
	}
	if missing := has.NotCheckedOut(filepath.Join(dir, tunnel.Dir)); len(missing) > 0 {
		return errAway(top, missing[0], "the tunnel files, and which hosts there are")
	}
	return nil
}

// An Away is what git has of vault and keyring and the working tree has not.
type Away struct {
	dir, resolved string // of the repository
	paths         map[string]bool
}

// ReadAway asks git's index. Where it does not answer nothing is known to be away.
func ReadAway(index IndexOf, r *Repo) Away {
	a := Away{dir: r.Dir, paths: map[string]bool{}}
	trees, err := r.Trees()
	if err != nil {
		return a
	}
	a.resolved, _ = filepath.EvalSymlinks(r.Dir) // an error was one above
	for _, t := range trees {
		has, err := index(t.Top)
		if err != nil {
			continue
		}
		for _, name := range has.NotCheckedOut(t.Folders...) {
			a.paths[filepath.Join(t.Top, name)] = true
		}
	}
	return a
}

// Has tells whether a file of the repository is away, or a folder that it is in.
func (a Away) Has(file string) bool {
	in, err := filepath.Rel(a.dir, file)
	if len(a.paths) == 0 || err != nil || !filepath.IsLocal(in) {
		return false
	}
	for ; in != "."; in = filepath.Dir(in) {
		if a.paths[filepath.Join(a.resolved, in)] {
			return true
		}
	}
	return false
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
