package git

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Index is what git's index has of a working tree, or of a part of it. One process reads
// all of it: for ten thousand hosts each process takes a twentieth of a second.
type Index struct {
	top     string
	entries string // as git-ls-files(1) writes them with -t, -s and -z
}

// ReadIndex reads what the index has of the working tree at top, or if paths are given, at
// and below those.
func ReadIndex(ctx context.Context, top string, paths ...string) (*Index, error) {
	var out strings.Builder
	// The index file is larger than the output of git about it.
	if info, err := os.Lstat(filepath.Join(top, ".git", "index")); err == nil {
		out.Grow(int(min(info.Size(), 16<<20)))
	}
	c := command(ctx, top, append([]string{"ls-files", "-t", "-s", "-z", "--"}, paths...)...)
	err := outputTo(ctx, c, top, nil, &out)
	return &Index{top: top, entries: out.String()}, err
}

// An entry is one line of the index. A file with a merge conflict has up to three: stage 1
// is the common ancestor, 2 is ours and 3 is theirs.
type entry struct{ tag, mode, id, stage, name string }

func (x *Index) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for line := range strings.SplitSeq(x.entries, "\x00") {
			var e entry // TAG MODE ID STAGE, a tab and the name
			head, name, ok := strings.Cut(line, "\t")
			e.tag, head, _ = strings.Cut(head, " ")
			e.mode, head, _ = strings.Cut(head, " ")
			e.id, e.stage, _ = strings.Cut(head, " ")
			e.name = name
			if ok && !yield(e) {
				return
			}
		}
	}
}

// NotCheckedOut returns those of the files below the folders that are not in the working
// tree, because the checkout is sparse or a submodule was not fetched. The folders are in
// the working tree.
func (x *Index) NotCheckedOut(folders ...string) (missing []string) {
	const skipped, submodule = "S", "160000"
	for e := range x.all() {
		if e.tag != skipped && e.mode != submodule || !x.below(e.name, folders) {
			continue
		}
		if e.tag != skipped { // a submodule
			if _, err := os.Lstat(filepath.Join(x.top, e.name, ".git")); err == nil {
				continue
			}
		}
		missing = append(missing, e.name)
	}
	return missing
}

// below reports whether a name is that of one of the folders, or of a file in one.
func (x *Index) below(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		in, err := filepath.Rel(folder, filepath.Join(x.top, name))
		return err == nil && filepath.IsLocal(in)
	})
}

// Names returns the names of all files in the index, as seen from the top.
func (x *Index) Names() map[string]bool {
	names := make(map[string]bool, strings.Count(x.entries, "\x00"))
	for e := range x.all() {
		names[e.name] = true
	}
	return names
}

// A Conflict is a file with a merge conflict (git-ls-files(1), "--unmerged").
type Conflict struct {
	Path         string // below the top of the working tree
	Ours, Theirs Side
	Base         Side // what both sides have changed; without an ID if neither had it before
}

// A Side is a file on one side of a merge; without an ID if that side does not have it. In
// a rebase "ours" is what is rebased onto (git-rebase(1)).
type Side struct {
	ID   string
	Text []byte
}

// Unmerged returns the files with a merge conflict, each side with at most limit bytes of
// text.
func (x *Index) Unmerged(ctx context.Context, limit int) ([]*Conflict, error) {
	const began, theirs = "1", "3"
	var all []*Conflict
	sides := map[string][]*Side{}
	var objects bytes.Buffer
	for e := range x.all() {
		if e.stage == "0" {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Path != e.name {
			all = append(all, &Conflict{Path: e.name})
		}
		side := &all[len(all)-1].Ours
		switch e.stage {
		case began:
			side = &all[len(all)-1].Base
		case theirs:
			side = &all[len(all)-1].Theirs
		}
		side.ID = e.id
		if sides[side.ID] == nil {
			fmt.Fprintf(&objects, "%s -\n", side.ID)
		}
		sides[side.ID] = append(sides[side.ID], side)
	}
	if objects.Len() == 0 {
		return all, nil
	}
	return all, blobs(ctx, x.top, &objects, limit, func(b Blob) error {
		for _, s := range sides[b.ID] {
			s.Text = slices.Clone(b.Text)
		}
		return nil
	})
}
