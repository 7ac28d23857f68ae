package main

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
	"wgkeys/vault"
)

// marker is the file that makes a folder a repository of wgkeys.
const marker = "wgkeys.toml"

// maxMarker is more than a file of settings has.
const maxMarker = 1 << 20

// A repo is the user's repository. No symbolic link in it leads out of it: files
// are read through root, or as package files does.
type repo struct {
	dir   string
	root  *os.Root
	ring  keyring.Ring
	vault vault.Vault
	seen  *files.Snapshot // see look; nil: the disk is asked

	maxKeyAge time.Duration // 0: keys may be of any age

	held    *os.File        // the marker, locked; see writing
	unlock  func()          // the keyring
	touched []string        // files that this command has changed
	owed    []string        // those of them that an earlier one has
	owedAt  string          // see owe; "" without --commit
	swept   map[string]bool // hosts
}

// repo finds the repository of the working folder, or of -C, as git does: in
// the folder itself or the nearest one above it.
func (e *env) repo() (*repo, error) {
	start, err := filepath.Abs(e.cli.String("C"))
	if err != nil {
		return nil, fault.Wrap(err, "cannot find the working folder", "", "")
	}
	if e.cli.IsSet("C") { // or a slip of the pen would work on a repository above it
		if info, err := os.Stat(start); err != nil {
			return nil, fault.Wrap(fault.Errno(err), "cannot work in the folder of -C", start, "ls -d "+ui.Quoted(start))
		} else if !info.IsDir() {
			return nil, fault.New("cannot work in the folder of -C", start, "it is no folder", "ls -d "+ui.Quoted(start))
		}
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := files.Read(dir, filepath.Join(dir, marker), maxMarker)
		if err == nil {
			r, err := openRepo(dir, text)
			if err == nil {
				r.vault.Asker = e.ui
			}
			return r, err
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fault.Wrap(err, "cannot read", filepath.Join(dir, marker), "")
		}
		if dir == filepath.Dir(dir) {
			return nil, fault.New("no wgkeys repository in", start, "neither it nor a folder above it has a "+marker,
				"wgkeys init, or name the repository with -C DIR")
		}
	}
}

func openRepo(dir string, text []byte) (*repo, error) {
	set, err := parseSettings(dir, text)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Errno(err), "cannot read the folder", dir, "")
	}
	return &repo{
		dir: dir, root: root, maxKeyAge: set.MaxKeyAge.Duration,
		ring:  keyring.Ring{Dir: filepath.Join(dir, "keyring")},
		vault: vault.Vault{Dir: filepath.Join(dir, "vault")},
	}, nil
}

// look reads the keyring and the vault once, for a command that asks about all of
// them many times, and not about what it has written. Forget wipes what was read.
func (r *repo) look() (forget func()) {
	seen := files.Take(r.dir, tunnel.Dir, filepath.Base(r.ring.Dir), filepath.Base(r.vault.Dir))
	r.seen, r.vault.Seen = seen, seen
	return func() {
		r.seen, r.vault.Seen = nil, nil
		seen.Wipe()
	}
}

// tunnels is the folder of the tunnel files.
func (r *repo) tunnels() fs.FS { return tunnelFolder{r.root.FS()} }

// A tunnelFolder is that folder, from which links may lead to elsewhere in the
// repository. Unlike that of [fs.Sub] it can tell what a file is without opening it,
// for which a FIFO makes us wait.
type tunnelFolder struct{ repo fs.FS }

func (f tunnelFolder) Open(name string) (fs.File, error) { return f.repo.Open(f.path(name)) }

func (f tunnelFolder) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.repo, f.path(name)) }

// path leaves a name that is none as it is: Open refuses it.
func (f tunnelFolder) path(name string) string {
	if !fs.ValidPath(name) {
		return name
	}
	return path.Join(tunnel.Dir, name)
}

// tunnelNames are the tunnels that the command is about: the one named with
// -t, or all.
func (r *repo) tunnelNames(e *env) ([]string, error) {
	names, err := tunnel.List(r.tunnels())
	if errors.Is(err, fs.ErrNotExist) {
		names, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if t := e.cli.String("tunnel"); t != "" {
		return []string{t}, nil
	}
	return names, nil
}

// someTunnels are the tunnels that the command is about, parsed: at least one.
func (r *repo) someTunnels(e *env) ([]*tunnel.Tunnel, error) {
	names, err := r.tunnelNames(e)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		_, err := r.oneTunnel(e) // says so
		return nil, err
	}
	tunnels := make([]*tunnel.Tunnel, len(names))
	for i, name := range names {
		if tunnels[i], err = tunnel.Parse(r.tunnels(), name); err != nil {
			return nil, err
		}
	}
	return tunnels, nil
}

// oneTunnel is the tunnel that the command is about, parsed.
func (r *repo) oneTunnel(e *env) (*tunnel.Tunnel, error) {
	names, err := r.tunnelNames(e)
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, fault.New("no tunnel in", r.dir, "there is no file tunnels/NAME.toml",
			"write tunnels/wg0.toml; the README begins with one of ten lines")
	case len(names) > 1:
		return nil, ui.Usage("which tunnel of", r.dir, "there are "+strings.Join(names, ", "),
			strings.Join(append([]string{"wgkeys " + e.cli.Command.Name, "-t", names[0]}, e.names()...), " "))
	}
	return tunnel.Parse(r.tunnels(), names[0])
}

// view is the plain configuration as host sees it, with both keys of a host that
// is in the middle of a rotation.
func (r *repo) view(t *tunnel.Tunnel, host string) (*tunnel.View, error) {
	keys, err := r.ring.Load(t.Name)
	if err != nil {
		return nil, err
	}
	next, err := r.nextKeys(t.Name, keys)
	if err != nil {
		return nil, err
	}
	v, err := t.View(host, keys)
	if err != nil {
		return nil, err
	}
	return v, v.SetNext(next)
}

// shortName is this machine's name without its domain.
func shortName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.Wrap(err, "cannot tell this machine's name", "", "name it with --host HOST")
	}
	short, _, _ := strings.Cut(name, ".")
	return strings.ToLower(short), nil
}

// thisHost is the host that this machine is: --host, or its short name.
func (e *env) thisHost() (string, error) {
	if h := e.cli.String("host"); h != "" {
		return h, nil
	}
	return shortName()
}

// isHere reports whether a host of t that was named is this machine: the one
// that --host names or, without it, the one of its short name, unless the
// tunnel file sends elsewhere with ssh =.
func (e *env) isHere(t *tunnel.Tunnel, host string) bool {
	if named := e.cli.String("host"); named != "" {
		return host == named
	}
	_, elsewhere := t.SSH(host)
	short, err := shortName()
	return err == nil && host == short && !elsewhere
}
