// Package kept stores the views with which this host comes up at boot, and updates them
// when keys are replaced.
package kept

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// Dir is the folder for the last good view of each tunnel, for the next boot.
const Dir = "/etc/wgkeys"

// keptDirs are the folders that may hold it, in order of preference. If /etc is read-only
// it goes where programs keep state, and if only /run can be written it serves until the
// next boot (hier(7)).
var keptDirs = []string{Dir, "/var/lib/wgkeys", linux.RunDir}

// Dirs are the folders of what a host remembers of its tunnels: their views, and the keys
// that were replaced.
func Dirs() []string { return slices.Clone(keptDirs) }

func keptPath(dir, name string) string { return filepath.Join(dir, name+".view") }

// Path is the file of a tunnel's last good view, or the preferred path for it. If there are
// several the newest one counts: an older one could be neither written nor removed.
func Path(name string) string {
	newest, at := keptPath(Dir, name), int64(0)
	for _, dir := range keptDirs {
		info, err := os.Stat(keptPath(dir, name))
		if err == nil && (at == 0 || info.ModTime().UnixNano() > at) {
			newest, at = keptPath(dir, name), info.ModTime().UnixNano()
		}
	}
	return newest
}

// Names are the tunnels with a kept view.
func Names() []string {
	var names []string
	for _, dir := range keptDirs {
		paths, _ := filepath.Glob(keptPath(dir, "*")) // the pattern is a good one
		for _, path := range paths {
			names = append(names, strings.TrimSuffix(filepath.Base(path), ".view"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// View returns the last good view of a tunnel, or nil if there is none.
func View(name string) (*tunnel.View, error) {
	path := Path(name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the kept view", path, "")
	}
	v, err := tunnel.ParseKept(text)
	if err != nil {
		return nil, Unreadable(name, err)
	}
	return v, nil
}

// ErrUnreadable is the cause of an error about a view that is there and cannot be used, as one
// that a newer wgkeys has written: the host would not come up with it.
var ErrUnreadable = errors.New("the kept view cannot be read")

// Unreadable is the error about the kept view of a tunnel, of which [tunnel.ParseKept] has
// said why.
func Unreadable(name string, why error) error {
	return fault.WrapFile(unreadable{why}, "cannot read the kept view", Path(name), "wgkeys apply --confirm 0 -t "+name)
}

type unreadable struct{ error }

func (u unreadable) Unwrap() []error { return []error{u.error, ErrUnreadable} }

// Keep stores text as the view for the next boot, in the first folder that can be written,
// and returns its path. The error says why that is not [Dir]; if no folder can be written
// the path is "".
func Keep(name string, text []byte) (path string, err error) {
	path = Path(name)
	if path == keptPath(Dir, name) && files.Holds(path, unsafe.String(unsafe.SliceData(text), len(text))) {
		return path, nil
	}
	for i, dir := range keptDirs {
		path = keptPath(dir, name)
		mode := os.FileMode(0o644)
		if dir == linux.RunDir { // what was there is for root alone
			mode = 0o600
		}
		failed := journal.WriteFile(path, text, mode)
		if failed == nil {
			forget(name, keptDirs[i+1:])
			return path, err
		}
		if err == nil {
			err = failed
		}
	}
	return "", err
}

// Lasts reports whether there is a view of the tunnel that is there after a boot, too.
func Lasts(name string) bool {
	return slices.ContainsFunc(keptDirs, func(dir string) bool {
		_, err := os.Stat(keptPath(dir, name))
		return dir != linux.RunDir && err == nil
	})
}

// forget removes old copies in other folders. One that cannot be removed is older from now
// on.
func forget(name string, dirs []string) {
	for _, dir := range dirs {
		os.Remove(keptPath(dir, name))
	}
}

// Forget removes the kept view: the host comes up without the tunnel.
func Forget(name string) error {
	var errs []error
	for _, dir := range keptDirs {
		if err := os.Remove(keptPath(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fault.WrapFile(fault.Errno(err), "cannot remove the kept view", keptPath(dir, name),
				fault.AsRoot))
		}
	}
	return errors.Join(errs...)
}
