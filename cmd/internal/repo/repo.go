// Package repo is the user's repository: where it is, its settings, who may write to it,
// the state of each key's rotation, which keys its history contains, and commits to git. It
// needs no identity and no host.
package repo

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// A Repo is the user's repository. No symbolic link out of it is followed: files are read
// through root, or with package files.
type Repo struct {
	Dir      string
	Root     *os.Root
	Ring     keyring.Ring
	Vault    vault.Vault
	Snapshot *files.Snapshot // see [Repo.TakeSnapshot]; nil: the disk is asked

	MaxKeyAge time.Duration // 0: keys may have any age

	held    *os.File // the marker, locked; see [Repo.Lock]
	unlock  func()   // the keyring
	Changes changes
	swept   map[string]bool // hosts
	former  *former
}

// Find finds the repository of a folder, as git does: in the folder itself or the nearest
// one above it. "" is the working folder.
func Find(folder string) (*Repo, error) {
	start, err := filepath.Abs(folder)
	if err != nil {
		return nil, fault.Wrap(err, "cannot find the working folder", "", "")
	}
	if folder != "" { // otherwise a typing error would use a repository above it
		if info, err := os.Stat(start); err != nil {
			return nil, fault.WrapFile(fault.Errno(err), "cannot work in the folder of -C", start, "ls -d "+ui.Quoted(start))
		} else if !info.IsDir() {
			return nil, fault.NewFile("cannot work in the folder of -C", start, "it is not a folder", "ls -d "+ui.Quoted(start))
		}
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := files.Read(dir, filepath.Join(dir, Marker), MaxFile)
		if err == nil {
			return openRepo(dir, text)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fault.WrapFile(err, "cannot read", filepath.Join(dir, Marker),
				"ls -lL "+ui.Quoted(filepath.Join(dir, Marker)))
		}
		if dir == filepath.Dir(dir) {
			return nil, fault.NewFile("no wgkeys repository in", start, "neither it nor a folder above it has a "+Marker,
				"wgkeys init, or name the repository with -C DIR")
		}
	}
}

func openRepo(dir string, text []byte) (*Repo, error) {
	set, err := parseSettings(dir, text)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the folder", dir, "")
	}
	r := &Repo{
		Dir: dir, Root: root, MaxKeyAge: set.MaxKeyAge.Duration,
		Ring:  keyring.Ring{Dir: filepath.Join(dir, "keyring")},
		Vault: vault.Vault{Dir: filepath.Join(dir, "vault")},

		Changes: changes{dir: dir, ring: filepath.Join(dir, "keyring"), vault: filepath.Join(dir, "vault")},
	}
	r.former = &former{dir: dir, tunnels: r.Tunnels()}
	r.Ring.Refuse = (&privateKeys{ring: r.Ring.Dir, vault: &r.Vault}).refuse
	r.Vault.Commands = func(file string) words.Commands {
		of, _ := OwnerOf(file)
		return Commands(r, of)
	}
	return r, nil
}

// TakeSnapshot reads the keyring and the vault once, for a command with many questions
// about all of them, but not about what it has written itself. Forget wipes what was read.
func (r *Repo) TakeSnapshot() (forget func()) {
	seen := files.Take(r.Dir, tunnel.Dir, filepath.Base(r.Ring.Dir), filepath.Base(r.Vault.Dir))
	r.Snapshot, r.Vault.Snapshot = seen, seen
	return func() {
		r.Snapshot, r.Vault.Snapshot = nil, nil
		seen.Wipe()
	}
}

// Tunnels is the folder of the tunnel files.
func (r *Repo) Tunnels() fs.FS { return tunnelFolder{r.Root.FS()} }

// A tunnelFolder is that folder; links in it may lead to elsewhere in the repository.
// Unlike [fs.Sub] it can stat a file without opening it, which for a FIFO would wait.
type tunnelFolder struct{ repo fs.FS }

func (f tunnelFolder) Open(name string) (fs.File, error) { return f.repo.Open(f.path(name)) }

func (f tunnelFolder) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.repo, f.path(name)) }

// path leaves an invalid name as it is: Open refuses it.
func (f tunnelFolder) path(name string) string {
	if !fs.ValidPath(name) {
		return name
	}
	return path.Join(tunnel.Dir, name)
}

// TunnelNames are the names of all tunnels or, if only is not "", that one, even if it does
// not exist.
func (r *Repo) TunnelNames(only string) ([]string, error) {
	names, err := tunnel.List(r.Tunnels())
	if errors.Is(err, fs.ErrNotExist) {
		names, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if only != "" {
		return []string{only}, nil
	}
	return names, nil
}

// SomeTunnels returns all tunnels, or the only one that is asked for: at least one.
func (r *Repo) SomeTunnels(only string) ([]*tunnel.Tunnel, error) {
	names, err := r.TunnelNames(only)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, noTunnel(r)
	}
	tunnels := make([]*tunnel.Tunnel, len(names))
	for i, name := range names {
		if tunnels[i], err = Parse(r, name); err != nil {
			return nil, err
		}
	}
	return tunnels, nil
}

// A SeveralTunnelsError is the error if there are several tunnels and none was named.
type SeveralTunnelsError struct{ Names []string }

func (s *SeveralTunnelsError) Error() string {
	return "the repository has several tunnels: " + strings.Join(s.Names, ", ")
}

// Tunnel returns the tunnel that is asked for or, if only is "", the one that exists. The
// error may be a [SeveralTunnelsError].
func (r *Repo) Tunnel(only string) (*tunnel.Tunnel, error) {
	names, err := r.TunnelNames(only)
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, noTunnel(r)
	case len(names) > 1:
		return nil, &SeveralTunnelsError{names}
	}
	return Parse(r, names[0])
}

// Parse reads a tunnel, and sets how hints name it.
func Parse(r *Repo, name string) (*tunnel.Tunnel, error) {
	t, err := tunnel.Parse(r.Tunnels(), name)
	if err != nil {
		return nil, err
	}
	t.Commands = Commands(r, name)
	t.HostOf = func(key string) string { return hostOf(r, name, key) }
	return t, nil
}

// hostOf returns the only host of a tunnel whose public key begins with what was typed, of
// which an ellipsis is no part; "" if there is none, or too little was typed.
func hostOf(r *Repo, tunnel, typed string) string {
	const enough = 4
	typed = strings.TrimSuffix(strings.TrimRight(typed, "…."), "=")
	keys, err := r.Ring.Load(tunnel)
	if err != nil || len(typed) < enough {
		return ""
	}
	found := ""
	for host, key := range keys {
		if strings.HasPrefix(key.String(), typed) {
			if found != "" {
				return ""
			}
			found = host
		}
	}
	return found
}

// Commands returns how a hint names a tunnel: with -t if there are several.
func Commands(r *Repo, tunnel string) words.Commands {
	c := words.Commands{IfFormer: func(hosts []string) string { return r.former.ifRenamed(tunnel, hosts) }}
	if names, err := r.TunnelNames(""); err == nil && len(names) > 1 {
		c.Tunnel = tunnel
	}
	return c
}

// FormerTunnel returns the only tunnel without a file in which a host has a key that it
// lacks in the named one, as if the file was renamed by hand; otherwise "".
func FormerTunnel(r *Repo, name, host string) string { return r.former.tunnel(name, host) }

// RemoveFormer is the beginning of a hint, which removes the key of a host in a tunnel: beside
// one under a former name, gen makes no other.
func RemoveFormer(r *Repo, tunnel, host string) string { return r.former.remove(tunnel, host) }

func noTunnel(r *Repo) error {
	return fault.NewFile("no tunnel in", r.Dir, "there is no file tunnels/NAME.toml",
		"write tunnels/wg0.toml; wgkeys help start begins with one of ten lines")
}

// Rel is a path relative to the repository's folder.
func (r *Repo) Rel(path string) string {
	if name, err := filepath.Rel(r.Dir, path); err == nil {
		return name
	}
	return path
}
