package host

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/host/boot"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
)

// A Removal is what there is of wgkeys on this host.
type Removal struct {
	Applied []string // tunnels that are up
	Tunnels []string // all known tunnels, including those
	Keys    []string // their key files
	Files   []string // what brings them up at boot
	Folders []string // of what the host remembers
	Program []string // this program's file, unless it belongs to a package
}

// FindRemoval finds all that uninstalling removes. Besides the key files of the tunnels that were
// applied here, others may be named.
func FindRemoval(keys []string) (r Removal, err error) {
	if r.Applied, err = Applied(); err != nil {
		return r, err
	}
	r.Tunnels = slices.Concat(r.Applied, kept.Names(), boot.Tunnels())
	slices.Sort(r.Tunnels)
	r.Tunnels = slices.Compact(r.Tunnels)
	for _, name := range r.Tunnels {
		if v, err := kept.View(name); err == nil && v != nil {
			keys = append(keys, keyFiles(v)...)
		}
	}
	slices.Sort(keys)
	r.Keys = slices.DeleteFunc(slices.Compact(keys), func(path string) bool { return !holdsKey(path) })
	r.Files = boot.Left(r.Tunnels)
	for _, dir := range kept.Dirs() {
		if inside, err := os.ReadDir(dir); err == nil && len(inside) > 0 || err == nil && !isMountPoint(dir) {
			r.Folders = append(r.Folders, dir)
		}
	}
	if !boot.Packaged() && lexists(boot.Program()) {
		r.Program = []string{boot.Program()}
	}
	return r, nil
}

// Empty reports whether there is nothing.
func (r Removal) Empty() bool { return len(r.Applied)+len(r.Files)+len(r.Folders)+len(r.Program) == 0 }

// keyFiles are the paths of the key files of a view.
func keyFiles(v *tunnel.View) (paths []string) {
	paths = []string{v.PrivateKeyFile, rotate.NextFile(v.Tunnel, v.PrivateKeyFile)}
	for _, p := range v.Peers {
		paths = append(paths, p.PresharedKeyFile)
	}
	return paths
}

// holdsKey reports whether a file is one key as wg(8) reads it, and nothing else: no other
// file is removed, whoever names it.
func holdsKey(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	text := make([]byte, 64)
	defer clear(text)
	n, err := io.ReadFull(f, text)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	line := bytes.TrimSpace(text[:n])
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	defer clear(raw)
	n, err = base64.StdEncoding.Strict().Decode(raw, line)
	return err == nil && n == 32
}

// isMountPoint reports whether a folder is on another file system than its parent.
func isMountPoint(dir string) bool {
	var at, above unix.Stat_t
	return unix.Stat(dir, &at) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && at.Dev != above.Dev
}
