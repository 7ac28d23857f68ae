package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Conflict is a file that a merge could not decide (git-ls-files(1), "--unmerged").
type Conflict struct {
	Path         string // below the top of the working tree
	Ours, Theirs Side
}

// A Side is a file as one side of a merge has it: with no ID, where it has none. In a
// rebase "ours" is what is rebased onto (git-rebase(1)).
type Side struct {
	ID   string
	Text []byte
}

// Unmerged returns the files of the working tree at top that a merge could not decide,
// each side with at most limit bytes of text.
func Unmerged(ctx context.Context, top string, limit int) ([]*Conflict, error) {
	out, err := run(ctx, top, nil, "ls-files", "--unmerged", "-z")
	if err != nil {
		return nil, err
	}
	var all []*Conflict
	sides := map[string][]*Side{}
	var objects bytes.Buffer
	for entry := range strings.SplitSeq(string(out), "\x00") {
		head, path, _ := strings.Cut(entry, "\t") // MODE ID STAGE, then the name
		f := strings.Fields(head)
		if len(f) != 3 || f[2] == "1" {
			if len(f) == 3 { // what both sides began with
				all = append(all, &Conflict{Path: path})
			}
			continue
		}
		if len(all) == 0 || all[len(all)-1].Path != path {
			all = append(all, &Conflict{Path: path})
		}
		side := &all[len(all)-1].Ours
		if f[2] == "3" {
			side = &all[len(all)-1].Theirs
		}
		side.ID = f[1]
		if sides[side.ID] == nil {
			fmt.Fprintf(&objects, "%s -\n", side.ID)
		}
		sides[side.ID] = append(sides[side.ID], side)
	}
	return all, blobs(ctx, top, &objects, limit, func(b Blob) error {
		for _, s := range sides[b.ID] {
			s.Text = slices.Clone(b.Text)
		}
		return nil
	})
}

// An Operation is one of git's that is not finished, and what finishes it.
type Operation struct{ Name, Finish string }

// operations are told by what they leave in git's own folder of the working tree, as
// git-status(1) tells them (wt-status.c, wt_status_get_state).
var operations = []struct {
	file string
	Operation
}{
	{"rebase-merge", Operation{"a rebase", "-c core.editor=true rebase --continue"}},
	{"rebase-apply/applying", Operation{"a git am", "am --continue"}},
	{"rebase-apply", Operation{"a rebase", "-c core.editor=true rebase --continue"}},
	{"CHERRY_PICK_HEAD", Operation{"a cherry-pick", "-c core.editor=true cherry-pick --continue"}},
	{"REVERT_HEAD", Operation{"a revert", "-c core.editor=true revert --continue"}},
	{"MERGE_HEAD", Operation{"a merge", "commit --no-edit"}},
}

// Underway is what is not finished in the working tree that dir lies in; without a
// name if nothing is.
func Underway(ctx context.Context, dir string) (Operation, error) {
	own, err := OwnDir(ctx, dir)
	if err != nil {
		return Operation{}, err
	}
	for _, o := range operations {
		if _, err := os.Lstat(filepath.Join(own, o.file)); err == nil {
			return o.Operation, nil
		}
	}
	return Operation{}, nil
}

// OwnDir is the folder in which git keeps what is of this working tree alone.
func OwnDir(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--absolute-git-dir")
	return strings.TrimSuffix(string(out), "\n"), err
}
