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

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// lockWait is how long a command waits for another one, which as a rule makes a
// key or two.
const lockWait = 3 * time.Second

// Lock keeps every other command that writes out of this checkout until the process
// ends. What only reads is not kept out: each file is there in full or not at all. With
// commit it refuses where no commit could be made, before anything is changed.
func (r *Repo) Lock(ctx context.Context, commit bool) error {
	if err := waitForLock(ctx, r); err != nil {
		return err
	}
	mode := Shared(ctx, r.Dir)
	r.Ring.Shared, r.Vault.Shared = mode, mode
	if !commit {
		return nil
	}
	return r.Changes.foresee(ctx)
}

// waitForLock locks the marker itself: it is in every repository, also without git, and
// the lock leaves no file behind.
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
			"ls -l "+filepath.Join(r.Dir, Marker))
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
	// git checkout and the like put another file in its place.
	now, err := r.Root.Stat(Marker)
	mine, mineErr := f.Stat()
	if err != nil || mineErr != nil || !os.SameFile(now, mine) {
		f.Close()
		return false, nil
	}
	// Later too: then a folder keeps others away, where one can be locked (not on NFS).
	// Not the repository's own, which a script may have locked that runs this.
	r.unlock, err = files.Lock(r.Ring.Dir)
	if errors.Is(err, files.ErrLocked) {
		f.Close()
		return false, nil
	}
	r.held = f
	return true, nil
}

// openMarker opens the marker for writing, though nothing is written: NFS locks no
// file for one process alone that is open for reading only (flock(2), "NFS
// details"). Elsewhere that will do for who may not write to it.
func openMarker(r *Repo) (*os.File, error) {
	f, err := r.Root.OpenFile(Marker, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		f, err = r.Root.OpenFile(Marker, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	return f, err
}

// Sweep removes what a command that was killed has left of a host's files. It is
// for verbs that write: nobody else does now.
func (r *Repo) Sweep(host string) error {
	if r.swept[host] {
		return nil
	}
	for _, dir := range []string{filepath.Join(r.Vault.Dir, host), filepath.Join(r.Ring.Dir, host)} {
		err := files.Sweep(r.Dir, dir, IsKeyFile)
		if err != nil && !errors.Is(err, files.ErrOutside) { // who reads there tells it better
			return fault.WrapFile(err, "cannot remove what an earlier command has left in", dir, "ls -la "+dir)
		}
	}
	if r.swept == nil {
		r.swept = map[string]bool{}
	}
	r.swept[host] = true
	return nil
}

// Shared are the bits of a mode that files in dir get for others, where git is told
// that they share the repository. Where git does not answer the verbs say so that need
// to know more of it.
func Shared(ctx context.Context, dir string) fs.FileMode {
	if _, err := git.Top(dir); err != nil {
		return 0
	}
	mode, _ := git.Shared(ctx, dir)
	return mode
}
