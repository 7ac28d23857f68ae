package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
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

// Touch remembers files that this command has made, changed or removed.
func (c *changes) Touch(paths ...string) {
	c.touched = append(c.touched, paths...)
	c.owe(paths...)
}

// TouchKeys remembers all the files of a host's key that a rotation changes.
func (r *Repo) TouchKeys(host, tunnel string) {
	for _, name := range []string{tunnel, keyring.Next(tunnel)} {
		r.Changes.Touch(r.Ring.Path(host, name), r.Vault.Path(host, vault.KeyFile(name)))
	}
}

// Commit ends a verb that writes: where --commit asks for it, one commit has
// exactly the files touched. It is made also where err tells that the verb failed
// half way, for what is there is in use. The message begins with the verb and
// tells the rest by lines.
func (c *changes) Commit(ctx context.Context, say ui.Reporter, verb string, lines []string, err error) error {
	if c.owedAt == "" || len(c.touched) == 0 {
		c.settled()
		return err
	}
	if len(lines) == 0 {
		lines = c.owedLines()
	}
	// An interrupt has ended the verb; what it has done is still to be kept.
	// Where the checkout is is nobody's business.
	message := strings.ReplaceAll(commitMessage(verb, lines), c.dir+string(filepath.Separator), "")
	failed := git.Commit(context.WithoutCancel(ctx), c.dir, c.touched, message)
	if failed == nil {
		c.settled()
		c.warnLists(ctx, say)
	} else {
		failed = fault.Wrap(failed, "no commit was made; the files are as they were written in", c.dir,
			fmt.Sprintf("mend that, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s commit", ui.Quoted(c.dir), c.touchedNames()))
	}
	return errors.Join(err, failed)
}

// owedLines tells what an earlier command has changed, where this one has nothing to
// tell.
func (c *changes) owedLines() (lines []string) {
	for _, path := range c.Owed {
		lines = append(lines, filepath.Base(filepath.Dir(path))+" "+filepath.Base(path)+" changed by an earlier command")
	}
	return lines
}

// touchedNames are the files that this command has changed, for a shell, or the folders
// of so many that nobody would read them.
func (c *changes) touchedNames() string {
	const most = 8
	if len(c.touched) > most {
		return "keyring vault"
	}
	var names []string
	for _, path := range c.touched {
		if _, err := os.Lstat(path); err != nil { // neither was it there before, as a rule
			continue
		}
		if name, err := filepath.Rel(c.dir, path); err == nil && !slices.Contains(names, ui.Quoted(name)) {
			names = append(names, ui.Quoted(name))
		}
	}
	return strings.Join(names, " ")
}

// warnLists tells of lists of recipients that are not committed: others would find the
// files of this commit encrypted to somebody whom no list names, or undo it.
func (c *changes) warnLists(ctx context.Context, say ui.Reporter) {
	changed, err := git.Changed(context.WithoutCancel(ctx), c.dir, c.vault)
	if err != nil {
		say.Warn(err)
		return
	}
	for _, name := range changed {
		if IsRecipients(name) {
			say.Warn(fault.New("not committed:", name, "the files of this commit are encrypted to whom it names, and others have another list",
				fmt.Sprintf("git -C %[1]s add -- %[2]s && git -C %[1]s commit", ui.Quoted(c.dir), ui.Quoted(":/"+name))))
		}
	}
}

// maxMessage is how many changes a message tells one by one, and maxChange how much
// of each, in bytes: a rekey names every recipient, and an argument of git's has at
// most 128 KiB (execve(2)).
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
