package networkd

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/tunnel/foreign"
)

// folders are the directories in which networkd looks for files. If two files
// have the same name, the one in the directory that comes first counts (systemd.network(5)).
var folders = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network",
	"/usr/lib/systemd/network", "/lib/systemd/network"}

// A unit is a .netdev or .network file with its drop-ins, in the order in which networkd
// reads them.
type unit struct {
	name  string // of the file, without its directory
	place int    // index in folders
	main  foreign.File
	drops []foreign.File
}

// A host has the files that one networkd would read.
type host struct {
	netdevs []*unit
	others  []*unit        // .network
	confs   []foreign.File // networkd.conf and its drop-ins
}

// A place is what the path of a file says about it.
type place struct {
	root   string // root of the system; otherwise the directory
	folder int    // index in folders
	unit   string // the .netdev or .network file that it is or adds to; "": none
	drop   bool   // it is a drop-in of unit
	conf   bool   // it is networkd.conf or a drop-in of it
}

func placeOf(name string) (p place) {
	dir, base := path.Split(path.Clean(name))
	dir = path.Clean(dir)
	above := path.Base(dir)
	switch {
	case base == "networkd.conf", strings.HasSuffix(base, ".networkd.conf"), above == "networkd.conf.d":
		if p.conf = path.Ext(base) == ".conf"; above == "networkd.conf.d" {
			dir = path.Dir(dir)
		}
		if path.Base(dir) == "systemd" {
			dir += "/network"
		}
	case isUnit(base):
		p.unit = base
	case strings.HasSuffix(above, ".d") && isUnit(strings.TrimSuffix(above, ".d")) && path.Ext(base) == ".conf":
		p.unit, p.drop, dir = strings.TrimSuffix(above, ".d"), true, path.Dir(dir)
	}
	p.root, p.folder = rootOf(dir)
	return p
}

// hosts sorts files by host. Files of one directory belong together, and so do those in the
// folders of one system.
func hosts(r *foreign.Reader, files []foreign.File) []*host {
	byRoot := map[string]*host{}
	var all []*host
	for _, drops := range []bool{false, true} {
		for _, f := range files {
			p := placeOf(f.Name)
			if p.drop != drops {
				continue
			}
			h := byRoot[p.root]
			if h == nil {
				h = &host{}
				byRoot[p.root], all = h, append(all, h)
			}
			switch {
			case p.conf:
				h.confs = append(h.confs, f)
			case p.unit == "":
				r.Wrong(foreign.Pos{File: f.Name, Line: 1}, "",
					"systemd-networkd reads *.netdev, *.network, their drop-ins NAME.netdev.d/*.conf, and networkd.conf")
			default:
				h.add(r, p.unit, unit{name: p.unit, place: p.folder, main: f}, p.drop)
			}
		}
	}
	for _, h := range all {
		h.sort()
	}
	return all
}

func isUnit(name string) bool {
	ext := path.Ext(name)
	return ext == ".netdev" || ext == ".network"
}

// rootOf returns the root of the system that dir belongs to, and its index in folders.
func rootOf(dir string) (root string, folder int) {
	for i, f := range folders {
		if root, ok := strings.CutSuffix(dir, f); ok {
			return root + "/", i
		}
		if dir == f[1:] {
			return "", i
		}
	}
	return dir, 0
}

func (h *host) add(r *foreign.Reader, name string, u unit, isDrop bool) {
	list := &h.others
	if path.Ext(name) == ".netdev" {
		list = &h.netdevs
	}
	i := slices.IndexFunc(*list, func(o *unit) bool { return o.name == name })
	switch {
	case isDrop && i < 0:
		r.Wrong(foreign.Pos{File: u.main.Name, Line: 1}, "", "it adds to %s, which is not here", foreign.Shown(name))
	case isDrop:
		(*list)[i].drops = append((*list)[i].drops, u.main)
	case i < 0:
		*list = append(*list, &u)
	case u.place < (*list)[i].place:
		*(*list)[i] = u
	}
}

// sort sorts the units and their drop-ins by name. A drop-in hides those of the same name
// in later folders.
func (h *host) sort() {
	byName := func(a, b *unit) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(h.netdevs, byName)
	slices.SortFunc(h.others, byName)
	for _, u := range slices.Concat(h.netdevs, h.others) {
		slices.SortStableFunc(u.drops, func(a, b foreign.File) int {
			_, i := rootOf(path.Dir(path.Dir(path.Clean(a.Name))))
			_, j := rootOf(path.Dir(path.Dir(path.Clean(b.Name))))
			return cmp.Or(strings.Compare(path.Base(a.Name), path.Base(b.Name)), cmp.Compare(i, j))
		})
		u.drops = slices.CompactFunc(u.drops, func(a, b foreign.File) bool { return path.Base(a.Name) == path.Base(b.Name) })
	}
}

// sections returns the sections of the file and its drop-ins.
func (u *unit) sections(r *foreign.Reader) []section {
	all := lex(r, u.main)
	for _, f := range u.drops {
		all = append(all, lex(r, f)...)
	}
	return all
}
