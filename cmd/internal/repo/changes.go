package repo

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

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// changes are what this command has made, changed or removed in the repository, for
// --commit.
type changes struct {
	dir, ring, vault string
	touched          []string // files
	Owed             []string // those of them that an earlier command has changed
	owedAt           string   // see owe; "" without --commit
}

// Touch records files that this command has made, changed or removed.
func (c *changes) Touch(paths ...string) {
	c.touched = append(c.touched, paths...)
	c.owe(paths...)
}

// TouchKeys records all the files of a host's key that a rotation changes.
func (r *Repo) TouchKeys(host, tunnel string) {
	for _, name := range []string{tunnel, keyring.Next(tunnel)} {
		r.Changes.Touch(r.Ring.Path(host, name), r.Vault.Path(host, vault.KeyFile(name)))
	}
}

// Commit ends a verb that writes: with --commit it makes one commit of exactly the files
// touched, even if err says that the verb failed partway, since its changes are in use.
// The message has the verb in its subject and the lines as its body.
func (c *changes) Commit(ctx context.Context, say ui.Reporter, verb string, lines []string, err error) error {
	if c.owedAt == "" || len(c.touched) == 0 {
		c.settled()
		return err
	}
	if len(lines) == 0 {
		lines = c.owedLines()
	}
	// If an interrupt has ended the verb, what it has done is committed all the same. One
	// that comes later ends the commit: a hook may wait for something that never comes.
	committing := ctx
	if ctx.Err() != nil {
		committing = context.WithoutCancel(ctx)
	}
	// The message does not contain the path of the checkout.
	message := strings.ReplaceAll(commitMessage(verb, lines), c.dir+string(filepath.Separator), "")
	failed := git.Commit(committing, c.dir, c.touched, message)
	if failed == nil {
		c.settled()
		c.warnLists(ctx, say)
		if keep := git.KeepHint(ctx, c.dir); keep != "" {
			say.Warn(fault.NewFile("no branch has the commit that was made in", c.dir,
				"a commit was checked out there, and no branch; the next checkout leaves the keys behind", keep))
		}
	} else {
		failed = fault.WrapFile(failed, "no commit was made; the files are as they were written in", c.dir,
			fmt.Sprintf("fix that, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s commit", ui.Quoted(c.dir),
				c.touchedNames()))
	}
	return errors.Join(err, failed)
}

// owedLines describe what an earlier command has changed, if this one has changed nothing.
func (c *changes) owedLines() (lines []string) {
	for _, path := range c.Owed {
		lines = append(lines, filepath.Base(filepath.Dir(path))+" "+filepath.Base(path)+" changed by an earlier command")
	}
	return lines
}

// touchedNames are the files that this command has changed, for a shell, or only the
// folders if there are too many to read.
func (c *changes) touchedNames() string {
	const most = 8
	if len(c.touched) > most {
		return "keyring vault"
	}
	var names []string
	for _, path := range c.touched {
		if _, err := os.Lstat(path); err != nil { // usually it was not there before either
			continue
		}
		if name, err := filepath.Rel(c.dir, path); err == nil && !slices.Contains(names, ui.Quoted(name)) {
			names = append(names, ui.Quoted(name))
		}
	}
	return strings.Join(names, " ")
}

// warnLists warns of lists of recipients that are not committed: others would find the
// files of this commit encrypted to somebody whom no list names, or undo it.
func (c *changes) warnLists(ctx context.Context, say ui.Reporter) {
	changed, err := git.Changed(context.WithoutCancel(ctx), c.dir, c.vault)
	if err != nil {
		say.Warn(err)
		return
	}
	for _, name := range changed {
		if IsRecipients(name) {
			say.Warn(fault.New("not committed:", name,
				"the files of this commit are encrypted to whom it names, and others have another list",
				fmt.Sprintf("git -C %[1]s add -- %[2]s && git -C %[1]s commit", ui.Quoted(c.dir), ui.Quoted(":/"+name))))
		}
	}
}

// maxMessage is how many changes a message lists, and maxChange how many bytes of each: a
// rekey names every recipient, and an argument of git has at most 128 KiB (execve(2)).
const (
	maxMessage = 50
	maxChange  = 1000
)

func commitMessage(verb string, changes []string) string {
	var hosts []string
	for _, c := range changes {
		host, _, _ := strings.Cut(c, " ")
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
		if len(hosts) > 4 {
			break
		}
	}
	subject := "wgkeys " + verb + ": " + strings.Join(hosts, ", ")
	if len(hosts) > 3 {
		subject = fmt.Sprintf("wgkeys %s: %s and others", verb, strings.Join(hosts[:3], ", "))
	}
	if len(hosts) == 0 {
		subject = "wgkeys " + verb
	}
	body := changes
	if len(changes) > maxMessage {
		body = append(slices.Clone(changes[:maxMessage]), fmt.Sprintf("and %d more", len(changes)-maxMessage))
	}
	var b strings.Builder
	for _, line := range body {
		if len(line) > maxChange {
			line = strings.ToValidUTF8(line[:maxChange], "") + "…"
		}
		b.WriteString(line + "\n")
	}
	return subject + "\n\n" + b.String()
}

// What --commit has changed and not committed yet is recorded in git's own folder, so that
// a command that was killed, or whose commit a hook refused, can be repeated: then it makes
// the commit, and does not replace a key for the second time.
const owedFile = "wgkeys-commit"

// maxOwed is a bound for the paths of all files of ten thousand hosts, in bytes.
const maxOwed = 16 << 20

// foresee refuses if no commit could be made, before anything is changed, and reads what an
// earlier command has left to be committed.
func (c *changes) foresee(ctx context.Context) error {
	ours := func(hook []byte) bool { return bytes.Contains(hook, []byte("\n"+hookMark+"\n")) }
	asked := map[string]bool{} // by the top of their working tree; usually there is one
	for _, dir := range []string{c.dir, c.vault, c.ring} {
		if _, err := os.Stat(dir); dir != c.dir && err != nil {
			continue
		}
		if top, err := git.Top(dir); err == nil {
			if asked[top] {
				continue
			}
			asked[top] = true
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
		return fault.WrapFile(err, "cannot read what an earlier command has not committed:", c.owedAt,
			"git -C "+ui.Quoted(c.dir)+" status, commit what is to be committed, and rm "+ui.Quoted(c.owedAt))
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

// owe records files that are changed now and have to be committed.
func (c *changes) owe(paths ...string) {
	if c.owedAt == "" {
		return
	}
	f, err := os.OpenFile(c.owedAt, os.O_WRONLY|os.O_CREATE|os.O_APPEND|files.NoFollow, 0o644)
	if err != nil { // the commit, if it is made, replaces the record
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

// settled removes the record when everything is committed.
func (c *changes) settled() {
	if c.owedAt != "" {
		os.Remove(c.owedAt)
	}
}
