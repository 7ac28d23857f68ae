package check

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/git"
)

// A renaming is a host or a tunnel to which each side of a merge has given a name of its
// own: git leaves a conflict for each of three names.
type renaming struct {
	isTunnel          bool
	was, ours, theirs string

	bases, kept, other []string // paths in the working tree: of was, and of the names of the two sides
}

// A moved key is a public key that both sides of a merge have moved, each to another place.
type moved struct{ base, ours, theirs *repo.Unmerged }

// movedTwice finds such keys, by their content.
func movedTwice(all []repo.Unmerged) map[string]*moved {
	by := map[string]*moved{}
	for i := range all {
		u := &all[i]
		id := u.Base.ID + u.Ours.ID + u.Theirs.ID // of one side
		m := by[id]
		if m == nil {
			m = new(moved)
		}
		switch id {
		case u.Base.ID:
			m.base = u
		case u.Ours.ID:
			m.ours = u
		case u.Theirs.ID:
			m.theirs = u
		default:
			continue
		}
		by[id] = m
	}
	maps.DeleteFunc(by, func(_ string, m *moved) bool {
		return m.base == nil || m.ours == nil || m.theirs == nil || m.base.Host == ""
	})
	return by
}

// renamedTwice finds such names, and returns the files that are not among them.
func renamedTwice(all []repo.Unmerged) (twice []*renaming, rest []repo.Unmerged) {
	taken := map[string]bool{}
	for _, m := range movedTwice(all) {
		r := renamingOf(m)
		if r == nil {
			continue
		}
		i := slices.IndexFunc(twice, func(o *renaming) bool {
			return o.isTunnel == r.isTunnel && o.was == r.was && o.ours == r.ours && o.theirs == r.theirs
		})
		if i < 0 {
			i, twice = len(twice), append(twice, r)
		}
		twice[i].bases = append(twice[i].bases, m.base.Path)
		twice[i].kept = append(twice[i].kept, m.ours.Path)
		twice[i].other = append(twice[i].other, m.theirs.Path)
		taken[m.base.Path], taken[m.ours.Path], taken[m.theirs.Path] = true, true, true
	}
	for _, r := range twice {
		slices.Sort(r.bases)
		slices.Sort(r.kept)
		slices.Sort(r.other)
	}
	slices.SortFunc(twice, func(a, b *renaming) int { return strings.Compare(a.was, b.was) })
	return twice, slices.DeleteFunc(slices.Clone(all), func(u repo.Unmerged) bool { return taken[u.Path] })
}

// renamingOf tells the names of a key that was moved; nil if it was moved in another way.
func renamingOf(m *moved) *renaming {
	name := func(u *repo.Unmerged) string { return strings.TrimSuffix(filepath.Base(u.Path), ".pub") }
	switch {
	case name(m.base) == name(m.ours) && name(m.base) == name(m.theirs):
		return &renaming{was: m.base.Host, ours: m.ours.Host, theirs: m.theirs.Host}
	case m.base.Host == m.ours.Host && m.base.Host == m.theirs.Host:
		return &renaming{isTunnel: true, was: name(m.base), ours: name(m.ours), theirs: name(m.theirs)}
	}
	return nil
}

// finding says what the two sides have done, and how to settle it: all files of one of the
// two names have to go together. While files of no host are in conflict, the tunnel file
// does not yet tell which.
func (r *renaming) finding(of *repo.Repo, parsed []*tunnel.Tunnel, top string, op git.Operation,
	unsettled bool) (f Finding, what string) {
	f, what = Finding{Check: "merge", Host: r.was}, "host"
	if r.isTunnel {
		f, what = Finding{Check: "merge"}, "tunnel"
	}
	what = fmt.Sprintf("%s is not finished: one side has called %s %q %q, and the other %q", op.Name, what, r.was, r.ours,
		r.theirs)
	if unsettled {
		f.Hint = "leave one of the two names in " + tunnel.Dir +
			", and git add what is there; for the rest wgkeys check then has one command"
		return f, what
	}
	keep, drop, kept := r.ours, r.theirs, r.kept
	if r.isIn(parsed, r.theirs) && !r.isIn(parsed, r.ours) {
		keep, drop, kept = r.theirs, r.ours, r.other
	}
	g := "git -C " + ui.Quoted(top)
	f.Hint = fmt.Sprintf("to call it %s: %s rm -r -q -f --ignore-unmatch -- %s && %s add -- %s && %s %s", keep, g,
		quotedAll(append(slices.Clone(r.bases), r.filesOf(of, drop, top)...)), g, quotedAll(kept), g, op.Finish)
	return f, what
}

// isIn reports whether the tunnel files have one of the names that a host or tunnel got.
func (r *renaming) isIn(parsed []*tunnel.Tunnel, name string) bool {
	return slices.ContainsFunc(parsed, func(t *tunnel.Tunnel) bool {
		return r.isTunnel && t.Name == name || !r.isTunnel && slices.Contains(t.Hosts(), name)
	})
}

// filesOf returns the files of one of the names that a host or tunnel got, below top.
func (r *renaming) filesOf(of *repo.Repo, name, top string) (paths []string) {
	below := func(path string) {
		if dir, err := filepath.EvalSymlinks(of.Dir); err == nil {
			if rel, err := filepath.Rel(top, filepath.Join(dir, of.Rel(path))); err == nil {
				paths = append(paths, rel)
			}
		}
	}
	if !r.isTunnel {
		below(filepath.Join(of.Ring.Dir, name))
		below(filepath.Join(of.Vault.Dir, name))
	}
	_ = of.EachPublic(func(host, tunnel, path string) {
		if r.isTunnel && tunnel == name {
			below(path)
		}
	})
	hosts, _ := of.Vault.Hosts() // a read error, which is reported elsewhere
	for _, host := range hosts {
		all, _ := of.Vault.List(host)
		for _, file := range all {
			tunnel, peer := repo.OwnerOf(file)
			if r.isTunnel && tunnel == name || !r.isTunnel && peer == name && host != name {
				below(of.Vault.Path(host, file))
			}
		}
	}
	return paths
}

func quotedAll(paths []string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = ui.Quoted(p)
	}
	return strings.Join(quoted, " ")
}
