package repo

import (
	"path/filepath"

	"wgkeys/keyring/fault"
)

// RequireOutside refuses to write a secret in the clear to a file in the repository, or to files in
// a folder there.
func RequireOutside(r *Repo, out string) error {
	if within(r.Dir, out) || within(r.Dir, filepath.Join(out, "file")) {
		return fault.NewFile("no secret is written in the clear into the repository", out, "git would take it along",
			"name a place that is not in it")
	}
	return nil
}

// within reports whether a file is below the folder top, or would be: its own folder may be reached
// by a link.
func within(top, file string) bool {
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	if real, err := filepath.EvalSymlinks(top); err == nil {
		top = real
	}
	way, err := filepath.Rel(top, folder)
	return err == nil && filepath.IsLocal(way)
}
