package tunnel

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"syscall"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/parallel"
	"wgkeys/keyring/words"
)

// Dir is the folder of the tunnel files in a repository. Errors name files
// below it.
const Dir = "tunnels"

const ext = ".toml"

// List returns the names of the tunnels in fsys, the folder [Dir], sorted.
// There may be none.
func List(fsys fs.FS) ([]string, error) {
	files, err := tomlFiles(fsys, ".")
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the folder", Dir, "ls -ld "+Dir)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(file, ext)
		if err := CheckName(name); err != nil {
			return nil, fault.WrapFile(err, "no tunnel can be named as the file", path.Join(Dir, file),
				"mv "+words.ForShell(Dir+"/"+file)+" "+Dir+"/NAME"+ext)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Parse reads the tunnel of this name in fsys, the folder [Dir], with its drop-ins, and
// refuses what could not work on any host. It reports all errors at once, in the order of
// the lines.
func Parse(fsys fs.FS, name string) (*Tunnel, error) {
	if err := CheckName(name); err != nil {
		return nil, fault.Wrap(noSuch{err}, "no tunnel can be named", name, "ls "+Dir)
	}
	root, err := load(fsys, name)
	return build(name, root, err)
}

// ParseText is [Parse] of a tunnel that is in no folder yet, and has no drop-ins.
func ParseText(text []byte, name string) (*Tunnel, error) {
	if err := CheckName(name); err != nil {
		return nil, fault.Wrap(noSuch{err}, "no tunnel can be named", name, "ls "+Dir)
	}
	if len(text) > maxTunnel {
		return nil, cannotRead(name+ext, errTooLarge)
	}
	var m merger
	m.file(path.Join(Dir, name+ext), text)
	return build(name, m.root, m.err())
}

// build makes a tunnel from the tree of its files, unless err is set.
func build(name string, root *node, err error) (*Tunnel, error) {
	if err != nil {
		return nil, err
	}
	t := &Tunnel{Name: name}
	r := &reader{t: t, known: Keys}
	readTable(r, root, t, tunnelKeys)
	if err := r.err(); err != nil {
		return nil, err
	}
	t.settle()
	l := &linter{t: t, main: root.pos}
	l.lint()
	if err := l.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// load merges the files of a tunnel into one tree.
func load(fsys fs.FS, name string) (*node, error) {
	names := []string{name + ext}
	dropins, err := tomlFiles(fsys, name+".d")
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read the folder", path.Join(Dir, name+".d"),
			"ls -ld "+words.ForShell(path.Join(Dir, name+".d")))
	}
	for _, file := range dropins {
		names = append(names, path.Join(name+".d", file))
	}
	var m merger
	left := maxTunnel
	for _, file := range names {
		text, err := readFile(fsys, file, left)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, missing(fsys, name)
		}
		if err != nil {
			return nil, cannotRead(file, err)
		}
		left -= len(text)
		m.file(path.Join(Dir, file), files.Text(text))
		if len(m.list) == 0 {
			continue
		}
		if why := files.Unreadable(text); why != nil {
			hint := ""
			if errors.Is(why, files.ErrConflict) {
				hint = "git status"
			}
			return nil, fault.WrapFile(why, "cannot read tunnel file", path.Join(Dir, file), hint)
		}
	}
	return m.root, m.err()
}

func cannotRead(file string, err error) error {
	file = path.Join(Dir, file)
	return fault.WrapFile(err, "cannot read tunnel file", file, "ls -lL "+words.ForShell(file))
}

func missing(fsys fs.FS, name string) error {
	f := fault.New("no such tunnel", name, path.Join(Dir, name+ext), "ls "+Dir)
	f.Err = noSuch{fs.ErrNotExist}
	names, _ := List(fsys)
	if near := words.Nearest(name, slices.Values(names)); near != "" {
		f.Hint = "did you mean -t " + near + "?"
	}
	return f
}

// tomlFiles returns the names of the TOML files in dir, in lexical order, without those that
// begin with a dot, as an editor's do. A folder with such a name is among them, so that
// reading it fails: if it were ignored, its hosts would be missing without an error.
func tomlFiles(fsys fs.FS, dir string) ([]string, error) {
	info, err := fs.Stat(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.IsDir() { // a FIFO would make us wait for its writer (fifo(7))
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); path.Ext(name) == ext && name[0] != '.' {
			files = append(files, name)
		}
	}
	return files, err
}

// settle derives what every later question needs from the list of hosts.
func (t *Tunnel) settle() {
	list := slices.Clone(t.sorted)
	parallel.Do(len(list) >= fewHosts, func() {
		t.hosts = make(map[string]*host, len(list))
		for _, h := range list {
			t.hosts[h.name] = h
		}
	}, func() {
		slices.SortFunc(t.sorted, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
		claim(t)
	})
	t.graph = t.connect()
}

// claim gives each host its place in the list, and its claims.
func claim(t *Tunnel) {
	claims := 0
	for i, h := range t.sorted {
		h.at = i
		claims += len(h.addresses.vals) + len(h.routes.vals)
	}
	all := make([]value[netip.Prefix], 0, claims) // of ten thousand hosts at once
	for _, h := range t.sorted {
		from := len(all)
		for _, a := range h.addresses.vals {
			all = append(all, value[netip.Prefix]{single(a.val.Addr()), a.pos})
		}
		all = append(all, h.routes.vals...)
		h.claims = slices.Clip(all[from:])
		t.families(h.claims)
		for _, p := range h.pairs {
			t.families(p.allowedIPs.vals)
		}
	}
}

// families notes which families the tunnel carries.
func (t *Tunnel) families(prefixes []value[netip.Prefix]) {
	for _, p := range prefixes {
		t.v4 = t.v4 || p.val.Addr().Is4()
		t.v6 = t.v6 || p.val.Addr().Is6()
	}
}
