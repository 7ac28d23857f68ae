package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// foresee refuses --commit where no commit could be made, before anything is changed,
// and takes up what an earlier command owes.
func (r *repo) foresee(e *env) error {
	if !e.cli.Bool("commit") {
		return nil
	}
	ours := func(hook []byte) bool { return bytes.Contains(hook, []byte("\n"+hookMark+"\n")) }
	for _, dir := range []string{r.dir, r.vault.Dir, r.ring.Dir} {
		if _, err := os.Stat(dir); dir != r.dir && err != nil {
			continue
		}
		if err := git.CouldCommit(e.ctx, dir, ours); err != nil {
			return err
		}
	}
	own, err := git.OwnDir(e.ctx, r.dir)
	if err != nil {
		return err
	}
	r.owedAt = filepath.Join(own, owedFile)
	return r.takeUp(e.ctx)
}

// takeUp reads which files an earlier command has changed that are in no commit yet.
func (r *repo) takeUp(ctx context.Context) error {
	text, err := files.Read(filepath.Dir(r.owedAt), r.owedAt, maxOwed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, "cannot read what an earlier command has not committed:", r.owedAt, "git -C "+ui.Quoted(r.dir)+" status, commit what is to be committed, and rm "+ui.Quoted(r.owedAt))
	}
	top, err := git.Top(r.dir)
	if err != nil {
		return err
	}
	changed, err := git.Changed(ctx, r.dir, r.vault.Dir, r.ring.Dir)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(r.dir)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(text), "\x00") {
		below, err := filepath.Rel(top, filepath.Join(dir, name))
		if name != "" && err == nil && slices.Contains(changed, filepath.ToSlash(below)) {
			r.owed = append(r.owed, filepath.Join(r.dir, name))
		}
	}
	r.touched = append(r.touched, r.owed...)
	return nil
}

// owe writes down files that are changed now and to be committed.
func (r *repo) owe(paths ...string) {
	if r.owedAt == "" {
		return
	}
	f, err := os.OpenFile(r.owedAt, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o644)
	if err != nil { // the commit, if it is made, is as good
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		files.Give(f, 0o644)
	}
	for _, path := range paths {
		if name, err := filepath.Rel(r.dir, path); err == nil {
			f.WriteString(filepath.ToSlash(name) + "\x00")
		}
	}
}

// settled is when nothing is owed any more.
func (r *repo) settled() {
	if r.owedAt != "" {
		os.Remove(r.owedAt)
	}
}

// withoutOwed leaves out the rotations of hosts whose new key only lacks its commit,
// and returns what is to be said of them in it.
func (r *repo) withoutOwed(e *env, turns []*turnOf) (left []*turnOf, owed []string) {
	for _, x := range turns {
		c, err := r.changeOf(x.host, x.tunnel.Name)
		if err != nil || c.underway() || !slices.Contains(r.owed, r.ring.Path(x.host, x.tunnel.Name)) {
			left = append(left, x)
			continue
		}
		owed = append(owed, fmt.Sprintf("%s %s replaced by an earlier command", x.host, x.tunnel.Name))
		e.ui.Say("%s has a new key in %s from an earlier command, which is committed now; it is not replaced again", x.host, x.tunnel.Name)
	}
	return left, owed
}
