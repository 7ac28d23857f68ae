package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/host/boot"
	"wgkeys/keyring/fault"
)

// RemoveOptions say how wgkeys is removed from this host. All functions have to be given.
type RemoveOptions struct {
	Keys bool                      // the key files, too
	Down func(tunnel string) error // takes a tunnel down
	Step func(line string)         // called with the command line of each other step before it is taken
	Stay func(keys []string)       // called with the key files, if they stay
}

// Remove takes the tunnels down and removes all of it, the program last: as long as that exists,
// the rest can be tried again.
func (r Removal) Remove(ctx context.Context, o RemoveOptions) error {
	for _, name := range r.Applied {
		if err := o.Down(name); err != nil {
			return err
		}
	}
	if err := o.runAll(ctx, boot.Disable(r.Tunnels)); err != nil {
		return err
	}
	if err := o.removeAll(r.Files); err != nil {
		return err
	}
	if len(r.Files) > 0 {
		if err := o.runAll(ctx, boot.Forget()); err != nil {
			return err
		}
	}
	if err := o.removeKeys(r.Keys); err != nil {
		return err
	}
	return o.removeAll(slices.Concat(r.Folders, r.Program))
}

// Steps are the command lines of what [Removal.Remove] would do.
func (r Removal) Steps(ctx context.Context, keys bool) (lines []string) {
	for _, name := range r.Applied {
		lines = append(lines, "wgkeys down -t "+name)
	}
	for _, c := range slices.Concat(boot.Disable(r.Tunnels), boot.Forget()) {
		if !c.Done(ctx) {
			lines = append(lines, c.String())
		}
	}
	paths := r.Files
	if keys {
		paths = slices.Concat(paths, r.Keys)
	}
	for _, path := range slices.Concat(paths, r.Folders, r.Program) {
		lines = append(lines, stepOf(path))
	}
	return lines
}

func stepOf(path string) string { return "rm -r " + path }

// removeKeys removes the key files, if that is wanted.
func (o RemoveOptions) removeKeys(paths []string) error {
	switch {
	case len(paths) == 0:
		return nil
	case !o.Keys:
		o.Stay(paths)
		return nil
	}
	if err := o.removeAll(paths); err != nil {
		return err
	}
	removeKeyFolder()
	return nil
}

func (o RemoveOptions) runAll(ctx context.Context, commands []boot.Command) error {
	for _, c := range commands {
		if c.Done(ctx) {
			continue
		}
		o.Step(c.String())
		if err := c.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (o RemoveOptions) removeAll(paths []string) error {
	for _, path := range paths {
		if !lexists(path) {
			continue
		}
		o.Step(stepOf(path))
		if err := remove(path); err != nil {
			return err
		}
	}
	return nil
}

// lexists reports whether there is a file of that name, or a link.
func lexists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// keyFolder is the folder for keys, which push makes if necessary.
const keyFolder = "/etc/wireguard"

// removeKeyFolder removes the folder of key files if it is empty, and does not belong to
// the package of wg(8).
func removeKeyFolder() {
	if _, err := exec.LookPath("wg"); err != nil {
		os.Remove(keyFolder) // fails if it is not empty
	}
}

// remove removes a file, or a folder with its content. A folder that is a mount point is
// only emptied.
func remove(path string) error {
	inside, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, unix.ENOTDIR) {
		return wrapRemove(err, path)
	}
	for _, e := range inside {
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return wrapRemove(err, filepath.Join(path, e.Name()))
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) {
		return wrapRemove(err, path)
	}
	return nil
}

func wrapRemove(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.WrapFile(fault.Errno(err), "cannot remove", path, fault.AsRoot)
}
