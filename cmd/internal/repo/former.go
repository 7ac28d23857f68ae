package repo

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
	"wgkeys/keyring/words"
)

// A former looks for the keys of hosts that lack one under another name: somebody has
// renamed a tunnel's file, or a host in it, by hand. Then another key would be wrong.
type former struct {
	dir     string // the repository
	tunnels fs.FS

	once    sync.Once
	keys    map[[2]string]bool // hosts and tunnels of the keys in the keyring and the vault
	hosts   map[[2]string]bool // those of the tunnel files
	named   map[string]bool    // the hosts alone
	files   []string           // the tunnels alone
	unknown bool               // a tunnel file cannot be read

	fileless map[string][]string // by host, the tunnels without a file in which it has keys
	unnamed  map[string][]string // by tunnel, the hosts with keys that no tunnel file names
	lacking  map[string][]string // by tunnel, its hosts without a key
}

// look reads the names of all keys and all hosts, once for all hints.
func (f *former) look() {
	f.keys, f.hosts, f.named = map[[2]string]bool{}, map[[2]string]bool{}, map[string]bool{}
	names, err := tunnel.List(f.tunnels)
	f.files = names
	f.unknown = err != nil && !errors.Is(err, fs.ErrNotExist)
	for _, name := range names {
		t, err := tunnel.Parse(f.tunnels, name)
		if err != nil {
			f.unknown = true
			return
		}
		for _, host := range t.Hosts() {
			f.hosts[[2]string{host, name}], f.named[host] = true, true
		}
	}
	f.lookIn("keyring", ".pub")
	f.lookIn("vault", ".key.age")
	f.compare()
}

// compare finds the keys without a name in the tunnel files, and the names without keys. It is
// done once: a repository may have thousands of both.
func (f *former) compare() {
	f.fileless, f.unnamed, f.lacking = map[string][]string{}, map[string][]string{}, map[string][]string{}
	for k := range f.keys {
		host, name := k[0], k[1]
		if !slices.Contains(f.files, name) {
			f.fileless[host] = append(f.fileless[host], name)
		}
		if !f.named[host] {
			f.unnamed[name] = append(f.unnamed[name], host)
		}
	}
	for k := range f.hosts {
		if !f.keys[k] {
			f.lacking[k[1]] = append(f.lacking[k[1]], k[0])
		}
	}
}

// lookIn finds the keys in a folder. What cannot be read is reported when a key is needed.
func (f *former) lookIn(folder, suffix string) {
	path := filepath.Join(f.dir, folder)
	hosts, _ := files.List(f.dir, path)
	for _, h := range hosts {
		all, _ := files.List(f.dir, filepath.Join(path, h.Name()))
		for _, e := range all {
			if name, ok := strings.CutSuffix(e.Name(), suffix); ok && tunnel.CheckName(name) == nil {
				f.keys[[2]string{h.Name(), strings.TrimSuffix(name, ".next")}] = true
			}
		}
	}
}

// tunnel returns the only tunnel without a file in which a host has a key that it lacks in
// the named one; otherwise "".
func (f *former) tunnel(name, host string) string {
	f.once.Do(f.look)
	if f.unknown || f.keys[[2]string{host, name}] || !slices.Contains(f.files, name) {
		return ""
	}
	return only(f.fileless[host])
}

// host returns the only host that no tunnel file names and that has a key in the named
// tunnel, if only one host of that lacks one; otherwise "".
func (f *former) host(name, host string) string {
	f.once.Do(f.look)
	if f.unknown || !f.hosts[[2]string{host, name}] {
		return ""
	}
	if lacking := f.lacking[name]; len(lacking) > 1 || len(lacking) == 1 && lacking[0] != host {
		return ""
	}
	return only(f.unnamed[name])
}

// only returns the name if there is one alone.
func only(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return ""
}

// ifRenamed returns what to do if hosts of a tunnel, which lack keys, have them under another
// name, and then "else: "; "" if they have not. It removes keys in a tunnel without a file,
// beside which gen makes no others.
func (f *former) ifRenamed(name string, hosts []string) string {
	for _, host := range hosts {
		if old := f.tunnel(name, host); old != "" {
			return words.IfRenamed("-t ", old, name) + f.remove(old, hosts...)
		}
	}
	if len(hosts) == 1 {
		if old := f.host(name, hosts[0]); old != "" {
			return words.IfRenamed("", old, hosts[0])
		}
	}
	return ""
}

// remove is the beginning of a hint, which removes the keys of hosts in a tunnel.
func (f *former) remove(tunnel string, hosts ...string) string {
	var paths []string
	for _, host := range hosts {
		paths = append(paths, filepath.Join(f.dir, "keyring", host, tunnel+".pub"),
			filepath.Join(f.dir, "vault", host, tunnel+".key.age"))
	}
	if there := Existing(paths...); there != "" {
		return "rm " + there + ", then "
	}
	return ""
}

// FormerHost returns the name that host had before somebody renamed it by hand in the named
// tunnel; "" if it was not renamed, or if that is not certain. It is certain if host alone lacks
// a key, if one host alone has a key and is in no tunnel file, and if one commit in git took the
// latter out of the tunnel files and brought host in.
func FormerHost(ctx context.Context, r *Repo, name, host string) string {
	old := r.former.host(name, host)
	top, err := git.Top(r.Dir)
	if old == "" || err != nil {
		return ""
	}
	removed, added, err := git.LastChange(ctx, top, filepath.Join(r.Dir, tunnel.Dir), table(old))
	if err != nil || !regexp.MustCompile(table(old)).MatchString(removed) ||
		!regexp.MustCompile(table(host)).MatchString(added) {
		return ""
	}
	return old
}

// table is a regular expression for the beginning of a host's table, for git and for Go.
func table(host string) string {
	return `hosts[[:space:]]*\.[[:space:]]*["']?` + host + `["']?[[:space:]]*(\]|\.)`
}
