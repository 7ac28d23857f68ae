package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

var commitFlag = &cli.BoolFlag{Name: "commit", Usage: "commit what was changed, and nothing else, to git"}

// touch remembers files of the repository that this command has made, changed or
// removed.
func (r *repo) touch(paths ...string) {
	r.touched = append(r.touched, paths...)
	r.owe(paths...)
}

// touchKeys remembers all the files of a host's key that a rotation changes.
func (r *repo) touchKeys(host, tunnel string) {
	for _, name := range []string{tunnel, keyring.Next(tunnel)} {
		r.touch(r.ring.Path(host, name), r.vault.Path(host, vault.KeyFile(name)))
	}
}

// commit ends a verb that writes: where --commit asks for it, one commit has
// exactly the files touched. It is made also where err tells that the verb failed
// half way, for what is there is in use. The message begins with the verb and
// tells the rest by changes, one a line.
func (r *repo) commit(e *env, verb string, changes []string, err error) error {
	if !e.cli.Bool("commit") || len(r.touched) == 0 {
		r.settled()
		return err
	}
	if len(changes) == 0 {
		changes = r.owedChanges()
	}
	// An interrupt has ended the verb; what it has done is still to be kept.
	// Where the checkout is is nobody's business.
	message := strings.ReplaceAll(commitMessage(verb, changes), r.dir+string(filepath.Separator), "")
	failed := git.Commit(context.WithoutCancel(e.ctx), r.dir, r.touched, message)
	if failed == nil {
		r.settled()
		e.warnLists(r)
	} else {
		failed = fault.Wrap(failed, "no commit was made; the files are as they were written in", r.dir,
			fmt.Sprintf("mend that, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s commit", ui.Quoted(r.dir), r.touchedNames()))
	}
	return errors.Join(err, failed)
}

// owedChanges tells what an earlier command has changed, where this one has nothing to
// tell.
func (r *repo) owedChanges() (changes []string) {
	for _, path := range r.owed {
		changes = append(changes, filepath.Base(filepath.Dir(path))+" "+filepath.Base(path)+" changed by an earlier command")
	}
	return changes
}

// touchedNames are the files that this command has changed, for a shell, or the folders
// of so many that nobody would read them.
func (r *repo) touchedNames() string {
	const most = 8
	if len(r.touched) > most {
		return "keyring vault"
	}
	var names []string
	for _, path := range r.touched {
		if _, err := os.Lstat(path); err != nil { // neither was it there before, as a rule
			continue
		}
		if name, err := filepath.Rel(r.dir, path); err == nil && !slices.Contains(names, ui.Quoted(name)) {
			names = append(names, ui.Quoted(name))
		}
	}
	return strings.Join(names, " ")
}

// warnLists tells of lists of recipients that are not committed: others would find the
// files of this commit encrypted to somebody whom no list names, or undo it.
func (e *env) warnLists(r *repo) {
	changed, err := git.Changed(context.WithoutCancel(e.ctx), r.dir, r.vault.Dir)
	if err != nil {
		e.ui.Warn(err)
		return
	}
	for _, name := range changed {
		if isRecipients(name) {
			e.ui.Warn(fault.New("not committed:", name, "the files of this commit are encrypted to whom it names, and others have another list",
				fmt.Sprintf("git -C %[1]s add -- %[2]s && git -C %[1]s commit", ui.Quoted(r.dir), ui.Quoted(":/"+name))))
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
