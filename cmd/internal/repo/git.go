package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
)

// RequireCheckedOut refuses a working tree that lacks files that git has of some hosts, or
// of all if none is named: a missing key would be made a second time, or be left as it is.
// It also refuses if git does not answer, since then it is not known what is missing.
func (r *Repo) RequireCheckedOut(ctx context.Context, hosts ...string) error {
	return RequireIn(IndexOnce(ctx, r), r, hosts...)
}

// RequireIn is [Repo.RequireCheckedOut] with an index that was read already.
func RequireIn(index IndexOf, r *Repo, hosts ...string) error {
	return missing(r, index, func(name string) bool {
		return len(hosts) == 0 || slices.Contains(hosts, path.Base(path.Dir(name))) || path.Ext(name) == "" // a submodule
	})
}

// OrAway returns err or, if that is about a file that does not exist, the error that the working
// tree lacks files that git has.
func OrAway(ctx context.Context, r *Repo, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if away := r.RequireCheckedOut(ctx); errors.As(away, new(lack)) {
		return away
	}
	return err
}

const notCheckedOut = "not checked out:"

// A lack is the cause of an error about files that git has and the working tree lacks.
type lack string

func (l lack) Error() string { return string(l) }

// missing is about those files in git that do not exist and matter.
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
	why := lack("the working tree has not all of " + what + " is not known")
	return fault.WrapFile(why, notCheckedOut, filepath.Join(top, name),
		fmt.Sprintf("git -C %[1]s sparse-checkout disable; of a submodule: git -C %[1]s submodule update --init",
			ui.Quoted(top)))
}

// RequireNone refuses a folder in which git has a repository of wgkeys that is not in the
// working tree, as after git clone --no-checkout: another one there would have another vault.
func RequireNone(ctx context.Context, dir string) error {
	dir, err := realPath(dir)
	if err != nil {
		return nil // reported by what is made there
	}
	top, err := git.Top(topOf(dir))
	if err != nil || !git.Has(ctx, top, "HEAD", filepath.Join(dir, Marker)) {
		return nil
	}
	in, err := filepath.Rel(top, dir)
	if err != nil {
		return nil
	}
	return fault.NewFile(notCheckedOut, filepath.Join(dir, Marker), "git has a repository of wgkeys there already",
		fmt.Sprintf("git -C %[1]s checkout HEAD -- %[2]s; of a sparse checkout: git -C %[1]s sparse-checkout disable",
			ui.Quoted(top), ui.Quoted(in)))
}

// RequireTunnels refuses a working tree that lacks a tunnel file that git has: then it is
// not known which hosts no tunnel names.
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

// An Away is the set of files of vault and keyring that git has and the working tree does
// not.
type Away struct {
	dir, resolved string // of the repository
	paths         map[string]bool
}

// ReadAway asks git's index. If git does not answer the set is empty.
func ReadAway(index IndexOf, r *Repo) Away {
	a := Away{dir: r.Dir, paths: map[string]bool{}}
	trees, err := r.Trees()
	if err != nil {
		return a
	}
	a.resolved, _ = filepath.EvalSymlinks(r.Dir) // the error was reported above
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

// Has reports whether a file of the repository, or a folder that contains it, is away.
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

// A workTree is a working tree, with the folders of vault and keyring in it.
type workTree struct {
	Top     string
	Folders []string
}

// Trees returns the working trees that contain vault and keyring, so that git is asked once
// for each. A submodule is a file in the outer one, and a working tree of its own.
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

// NarrowClones returns the clones that do not have all branches, whose history is not known
// here.
func (r *Repo) NarrowClones(ctx context.Context) (all []error) {
	for _, top := range r.Tops() {
		if err := git.Narrow(ctx, top); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Committed reports whether the present commit has the repository at all.
func Committed(ctx context.Context, r *Repo) bool {
	dir, err := realPath(r.Dir)
	if err != nil {
		return false
	}
	top, err := git.Top(dir)
	return err == nil && git.Has(ctx, top, "HEAD", filepath.Join(dir, Marker))
}

// Tops returns the working trees that contain the repository: vault and keyring may be
// submodules, which have a history of their own. It is nil without git.
func (r *Repo) Tops() (all []string) {
	for _, dir := range []string{r.Dir, r.Vault.Dir, r.Ring.Dir} {
		if top, err := git.Top(dir); err == nil && !slices.Contains(all, top) {
			all = append(all, top)
		}
	}
	return all
}
