package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// An Operation is one of git's that is not finished, with the command that continues it.
type Operation struct{ Name, Finish string }

// operations are recognized by the files in the working tree's own git folder, as
// git-status(1) does (wt_status_get_state in wt-status.c).
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

// Underway returns the unfinished operation in the working tree of dir; without a name if
// there is none.
func Underway(ctx context.Context, dir string) (Operation, error) {
	own, err := OwnDir(ctx, dir)
	if err != nil {
		return Operation{}, err
	}
	return underway(own), nil
}

// underway is [Underway] for a known git folder of the working tree.
func underway(own string) Operation {
	for _, o := range operations {
		if _, err := os.Lstat(filepath.Join(own, o.file)); err == nil {
			return o.Operation
		}
	}
	return Operation{}
}

// OwnDir is the folder in which git keeps what belongs to this working tree alone
// (git-rev-parse(1), "--git-dir").
func OwnDir(ctx context.Context, dir string) (string, error) {
	out, err := run(ctx, dir, nil, "rev-parse", "--absolute-git-dir")
	return strings.TrimSuffix(string(out), "\n"), err
}
