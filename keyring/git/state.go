package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

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
	return underway(own), nil
}

// underway is [Underway] of the working tree whose own folder of git's is known.
func underway(own string) Operation {
	for _, o := range operations {
		if _, err := os.Lstat(filepath.Join(own, o.file)); err == nil {
			return o.Operation
		}
	}
	return Operation{}
}

// OwnDir is the folder in which git keeps what is of this working tree alone.
func OwnDir(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--absolute-git-dir")
	return strings.TrimSuffix(string(out), "\n"), err
}
