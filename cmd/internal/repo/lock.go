package repo

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// lockWait is how long a command waits for another one, which usually makes a key or two.
const lockWait = 3 * time.Second

// Lock keeps all other commands that write out of this checkout until the process ends.
// Commands that only read are not kept out: each file is there in full or not at all. If
// commit is set it refuses if no commit could be made, before anything is changed.
func (r *Repo) Lock(ctx context.Context, commit bool) error {
	if err := waitForLock(ctx, r); err != nil {
		return err
	}
	mode := sharedMode(ctx, r.Dir)
	r.Ring.Shared, r.Vault.Shared = mode, mode
	if !commit {
		return nil
	}
	return r.Changes.foresee(ctx)
}

// waitForLock locks the marker itself: it exists in every repository, also without git, and
// so the lock leaves no file behind.
func waitForLock(ctx context.Context, r *Repo) error {
	path := filepath.Join(r.Dir, Marker)
	for deadline := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		held, err := tryLock(r)
		if held || err != nil {
			return err
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fault.NewFile("another wgkeys is writing to the repository", r.Dir,
				cmp.Or(holder(path), holder(r.Ring.Dir), "which one is not known here"),
				"wait until it is done, then run this again")
		}
	}
}

func tryLock(r *Repo) (held bool, err error) {
	f, err := openMarker(r)
	if err != nil {
		return false, fault.WrapFile(fault.Errno(err), "cannot lock", filepath.Join(r.Dir, Marker),
			"ls -l "+ui.Quoted(filepath.Join(r.Dir, Marker)))
	}
	err = files.TryLock(f)
	switch {
	case errors.Is(err, files.ErrLocked):
		f.Close()
		return false, nil
	case err != nil:
		f.Close()
		return false, fault.WrapFile(err, "cannot lock", filepath.Join(r.Dir, Marker),
			"git clone the repository to a local disk: its file system here does not lock")
	}
	// git checkout and similar commands replace the file.
	now, err := r.Root.Stat(Marker)
	mine, mineErr := f.Stat()
	if err != nil || mineErr != nil || !os.SameFile(now, mine) {
		f.Close()
		return false, nil
	}
	// Later commands, too: this folder keeps them out if a folder can be locked (not on
	// NFS). The repository's own folder is not used, since a script that runs this may have
	// locked it.
	r.unlock, err = files.Lock(r.Ring.Dir)
	if errors.Is(err, files.ErrLocked) {
		f.Close()
		return false, nil
	}
	r.held = f
	return true, nil
}

// openMarker opens the marker for writing, though nothing is written: on NFS an exclusive
// lock needs that (flock(2), "NFS details"). Elsewhere reading is enough for a user who may
// not write to it.
func openMarker(r *Repo) (*os.File, error) {
	f, err := r.Root.OpenFile(Marker, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		f, err = r.Root.OpenFile(Marker, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	return f, err
}

// Sweep removes what a killed command has left of a host's files. It is for verbs that
// write, since they hold the lock.
func (r *Repo) Sweep(host string) error {
	if r.swept[host] {
		return nil
	}
	for _, dir := range []string{filepath.Join(r.Vault.Dir, host), filepath.Join(r.Ring.Dir, host)} {
		err := files.Sweep(r.Dir, dir, IsKeyFile)
		if err != nil && !errors.Is(err, files.ErrOutside) { // reported better by the code that reads it
			return fault.WrapFile(err, "cannot remove what an earlier command has left in", dir, "ls -la "+ui.Quoted(dir))
		}
	}
	if r.swept == nil {
		r.swept = map[string]bool{}
	}
	r.swept[host] = true
	return nil
}

// sharedMode returns the mode bits that files in dir get for others, if git is configured to
// share the repository. If git does not answer, the verbs that need it report that.
func sharedMode(ctx context.Context, dir string) fs.FileMode {
	if _, err := git.Top(dir); err != nil {
		return 0
	}
	mode, _ := git.Shared(ctx, dir)
	return mode
}
