package repo

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"

	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// An IndexOf returns what git's index has of the repository in a working tree.
type IndexOf func(top string) (*git.Index, error)

// IndexOnce asks git once for each working tree, for a command that changes nothing between
// its questions.
func IndexOnce(ctx context.Context, r *Repo) IndexOf {
	type read struct {
		index *git.Index
		err   error
	}
	known := map[string]read{}
	return func(top string) (*git.Index, error) {
		got, ok := known[top]
		if !ok {
			got.index, got.err = git.ReadIndex(ctx, top, pathsIn(r, top)...)
			known[top] = got
		}
		return got.index, got.err
	}
}

// pathsIn returns the folders of the repository in a working tree that also has other
// files: none if it has no others.
func pathsIn(r *Repo, top string) (paths []string) {
	var folders []string
	if dir, err := filepath.EvalSymlinks(r.Dir); err == nil {
		folders = append(folders, dir)
	}
	trees, _ := r.Trees() // a read error, which is reported elsewhere
	for _, t := range trees {
		folders = append(folders, t.Folders...)
	}
	for _, folder := range folders {
		if isIn(top, folder) {
			return nil
		}
		if isIn(folder, top) {
			paths = append(paths, folder)
		}
	}
	return paths
}

// isIn reports whether a path is that of a folder, or below it.
func isIn(path, folder string) bool {
	in, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(in)
}

// HasUntracked reports whether vault and keyring may have a file that matters and that is
// not in the index of their working tree, so that git has to be asked for the reason. It is
// true if the snapshot does not have everything in them.
func HasUntracked(r *Repo, t workTree, index *git.Index, matters func(name string) bool) bool {
	dir, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return true
	}
	u := untracked{tracked: index.Names(), matters: matters}
	for _, folder := range t.Folders {
		in, err := filepath.Rel(dir, folder)
		if err != nil || !filepath.IsLocal(in) {
			return true
		}
		name, err := filepath.Rel(t.Top, folder)
		entries, known := r.Snapshot.Entries(filepath.Join(r.Dir, in))
		if err != nil || !known || u.in(entries, []byte(strings.TrimPrefix(filepath.ToSlash(name)+"/", "./"))) {
			return true
		}
	}
	return false
}

type untracked struct {
	tracked map[string]bool
	matters func(name string) bool
}

// in examines a folder: prefix is what precedes the names in the index.
func (u *untracked) in(entries []fs.DirEntry, prefix []byte) bool {
	for _, e := range entries {
		name := e.Name()
		path := append(prefix, name...)
		switch {
		case name == ".git" && len(prefix) > 0: // a repository in the repository, which git reports in another way
			return true
		case name == ".git":
		case e.IsDir():
			if below, known := e.(files.Seen).Entries(); !known || u.in(below, append(path, '/')) {
				return true
			}
		case u.matters(name) && !u.tracked[string(path)]:
			return true
		}
	}
	return false
}
