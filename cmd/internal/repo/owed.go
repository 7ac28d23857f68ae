package repo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
)

// What --commit has changed and not committed yet is written down in git's own folder,
// so that a command that was killed, or whose commit a hook refused, can be repeated:
// the repetition makes the commit, and does not replace a key for the second time.
const owedFile = "wgkeys-commit"

// maxOwed is more than the paths of all files of ten thousand hosts.
const maxOwed = 16 << 20

// foresee refuses where no commit could be made, before anything is changed,
// and takes up what an earlier command owes.
func (c *changes) foresee(ctx context.Context) error {
	ours := func(hook []byte) bool { return bytes.Contains(hook, []byte("\n"+hookMark+"\n")) }
	for _, dir := range []string{c.dir, c.vault, c.ring} {
		if _, err := os.Stat(dir); dir != c.dir && err != nil {
			continue
		}
		if err := git.CouldCommit(ctx, dir, ours); err != nil {
			return err
		}
	}
	own, err := git.OwnDir(ctx, c.dir)
	if err != nil {
		return err
	}
	c.owedAt = filepath.Join(own, owedFile)
	return c.takeUp(ctx)
}

// takeUp reads which files an earlier command has changed that are in no commit yet.
func (c *changes) takeUp(ctx context.Context) error {
	text, err := files.Read(filepath.Dir(c.owedAt), c.owedAt, maxOwed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, "cannot read what an earlier command has not committed:", c.owedAt, "git -C "+ui.Quoted(c.dir)+" status, commit what is to be committed, and rm "+ui.Quoted(c.owedAt))
	}
	top, err := git.Top(c.dir)
	if err != nil {
		return err
	}
	changed, err := git.Changed(ctx, c.dir, c.vault, c.ring)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(c.dir)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(text), "\x00") {
		below, err := filepath.Rel(top, filepath.Join(dir, name))
		if name != "" && err == nil && slices.Contains(changed, filepath.ToSlash(below)) {
			c.Owed = append(c.Owed, filepath.Join(c.dir, name))
		}
	}
	c.touched = append(c.touched, c.Owed...)
	return nil
}

// owe writes down files that are changed now and to be committed.
func (c *changes) owe(paths ...string) {
	if c.owedAt == "" {
		return
	}
	f, err := os.OpenFile(c.owedAt, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o644)
	if err != nil { // the commit, if it is made, is as good
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		files.Give(f, 0o644)
	}
	for _, path := range paths {
		if name, err := filepath.Rel(c.dir, path); err == nil {
			f.WriteString(filepath.ToSlash(name) + "\x00")
		}
	}
}

// settled is when nothing is owed any more.
func (c *changes) settled() {
	if c.owedAt != "" {
		os.Remove(c.owedAt)
	}
}
