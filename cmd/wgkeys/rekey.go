package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

func rekeyCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "rekey",
		Usage:     "encrypt the vault again, to the present recipients",
		ArgsUsage: "[HOST...]",
		Description: "Only files whose recipients differ from the lists are written, and the keys in them\n" +
			"stay the same. Everything is decrypted and compared before anything is written;\n" +
			"whatever stops it, every file opens, and another rekey finishes. What somebody who\n" +
			"left could read he may have kept: new keys are made by rotate.",
		Flags: []cli.Flag{identityFlag, dryRunFlag, jsonFlag, commitFlag,
			&cli.StringSliceFlag{Name: "skip", Usage: "leave the files of `HOST` as they are, one of which is damaged, say; may be repeated"}},
	}, doRekey
}

func doRekey(e *env) error {
	// Thousands of files are garbage of more than the memory that main allows. They
	// are collected seldom while there are few of them, and at once if there are many.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(150 << 20))
	r, err := e.writingUnlessDry()
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx, e.names()...); err != nil {
		return err
	}
	if err := settleMerge(r, e); err != nil {
		return err
	}
	if len(e.names()) == 0 {
		defer r.TakeSnapshot()() // what is written is compared with the disk
	}
	hosts, err := rekeyHosts(r, e.names(), e.cli.StringSlice("skip"))
	if err != nil {
		return err
	}
	stale, err := r.Vault.Outdated(e.ctx, hosts)
	if err != nil {
		e.sayOthers(hosts, err)
		return err
	}
	if len(stale) == 0 {
		e.ui.Say("nothing to do")
	}
	skipped := e.skipped(r)
	if e.cli.Bool("dry-run") {
		return e.rekeyDry(stale, skipped)
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	if err := onlyCopies(r, e.ctx, ids, stale); err != nil {
		return err
	}
	step, end := e.ui.Progress("encrypting again")
	var left []error
	job := &vault.Rekey{Vault: r.Vault, IDs: ids, Now: time.Now(), Hosts: hosts, Want: r.Expected, Step: step, Left: func(_ vault.Stale, err error) { left = append(left, err) }}
	did, err := job.Run(e.ctx, stale)
	end()
	told := e.rekeyed(r, did, "encrypted again")
	e.warnShutOut(r, ids, did)
	err = errors.Join(err, told)
	if err != nil && len(did) == 0 {
		e.sayOthers(hosts, err)
		return errors.Join(append(left, err)...)
	}
	some := errors.Join(append(left, err, skipped)...)
	if err = r.Changes.Commit(e.ctx, e.ui, "rekey", changesOf(did), some); some != nil {
		err = ui.ExitWith(ui.ExitSome, err)
	}
	return err
}

// sayOthers says how to go on without the hosts whose files are in the way. Who has
// no identity for one has none for others, as a rule.
func (e *env) sayOthers(hosts []string, err error) {
	bad := hostsOf(err, hosts)
	if errors.Is(err, vault.ErrNoIdentity) || len(bad) == 0 || len(bad) == len(hosts) {
		return
	}
	e.ui.Say("nothing was written; to leave out what is in the way, the same command and --skip %s", strings.Join(bad, " --skip "))
}

// hostsOf are those of hosts that an error is about, in order.
func hostsOf(err error, hosts []string) []string {
	var found []string
	fault.Each(err, func(f *fault.Fault) {
		parts := strings.Split(filepath.ToSlash(f.Who), "/")
		for _, host := range []string{f.Who, parts[max(0, len(parts)-2)]} { // a name, or .../HOST/FILE
			if slices.Contains(hosts, host) {
				found = append(found, host)
			}
		}
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// skipped tells what --skip leaves to whoever can open it now.
func (e *env) skipped(r *repo.Repo) error {
	var errs []error
	skip := slices.Clone(e.cli.StringSlice("skip"))
	slices.Sort(skip)
	for _, host := range slices.Compact(skip) {
		stale, err := r.Vault.Outdated(e.ctx, []string{host})
		var why string
		switch {
		case err != nil:
			why = "some of them cannot be read"
		case len(stale) == 0:
			continue
		default:
			why = stale[0].File + " is to be encrypted again" + because(stale[0])
		}
		errs = append(errs, fault.New("left as they are: the files of host", host, why, "wgkeys check, then wgkeys rekey "+host))
	}
	return errors.Join(errs...)
}

// rekeyHosts are the hosts named, or all that have a folder in the vault, without
// those to skip.
func rekeyHosts(r *repo.Repo, named, skip []string) ([]string, error) {
	all, err := r.Vault.Hosts()
	if err != nil {
		return nil, err
	}
	for _, host := range slices.Concat(named, skip) {
		if !slices.Contains(all, host) {
			return nil, fault.New("no such host in the vault", host, "there is no folder vault/"+host, "ls vault")
		}
	}
	hosts := all
	if len(named) > 0 {
		slices.Sort(named)
		hosts = slices.Compact(named)
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return slices.Contains(skip, h) }), nil
}

func (e *env) rekeyDry(stale []vault.Stale, skipped error) error {
	if err := e.rekeyed(nil, stale, "to be encrypted again"); err != nil || len(stale) == 0 && skipped == nil {
		return err
	}
	return ui.ExitWith(ui.ExitFindings, skipped)
}

// A rekeyedFile is what became of a file, for programs.
type rekeyedFile struct {
	Host    string              `json:"host"`
	File    string              `json:"file"`
	Action  string              `json:"action"`
	Added   []string            `json:"added"`
	Removed []vault.Fingerprint `json:"removed"`
}

// rekeyed tells what was done, or is to be, and what that does not do.
func (e *env) rekeyed(r *repo.Repo, did []vault.Stale, action string) error {
	out := []rekeyedFile{}
	for _, s := range did {
		f := rekeyedFile{s.Host, s.File, action, []string{}, append([]vault.Fingerprint{}, s.Gone...)}
		for _, m := range s.Missing {
			f.Added = append(f.Added, m.String())
		}
		out = append(out, f)
		if r != nil {
			r.Changes.Touch(r.Vault.Path(s.Host, s.File))
		}
		if !e.cli.Bool("json") {
			e.ui.Printf("%s %s %s\n", s.Host, s.File, action+because(s))
		}
	}
	if e.cli.Bool("json") {
		if err := e.ui.JSON(out); err != nil {
			return err
		}
	}
	e.warnHistory(did)
	return nil
}

func because(s vault.Stale) string {
	var why []string
	for _, m := range s.Missing {
		why = append(why, "for "+m.String())
	}
	for _, f := range s.Gone {
		why = append(why, "no longer for "+f.String())
	}
	if s.NoMeta {
		why = []string{"it did not say for whom it was"}
	}
	return ": " + strings.Join(why, ", ")
}

func changesOf(did []vault.Stale) []string {
	var lines []string
	for _, s := range did {
		lines = append(lines, fmt.Sprintf("%s %s%s", s.Host, s.File, because(s)))
	}
	return lines
}

// warnHistory says what encrypting again cannot do: git keeps the old
// ciphertext, for whoever could open it.
func (e *env) warnHistory(did []vault.Stale) {
	var hosts, gone []string
	keys, psks := 0, 0
	for _, s := range did {
		for _, f := range s.Gone {
			if !slices.Contains(gone, f.String()) {
				gone = append(gone, f.String())
			}
		}
		switch {
		case len(s.Gone) == 0:
		case strings.HasSuffix(s.File, ".psk"):
			psks++
		default:
			if keys++; len(hosts) == 0 || hosts[len(hosts)-1] != s.Host {
				hosts = append(hosts, s.Host)
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	e.ui.Warn(fault.New("whoever left could read", repo.Counted(keys, psks),
		"the old ciphertext stays in git's history and in every clone, and only new keys help", historyHint(hosts, gone, psks)))
}

// historyHint is what replaces the keys. Preshared ones rotate leaves; check says of
// each how it is replaced.
func historyHint(hosts, gone []string, psks int) string {
	var hints []string
	switch rotate := "wgkeys rotate"; {
	case len(hosts) == 0:
	default:
		if len(hosts) <= 5 {
			rotate += " " + strings.Join(hosts, " ")
		}
		if len(gone) == 1 {
			rotate = "wgkeys rotate --leaver " + gone[0] + ", or " + rotate
		}
		hints = append(hints, rotate)
	}
	for _, f := range gone {
		if psks > 0 {
			hints = append(hints, "wgkeys check --leaver "+f+" for the preshared keys")
		}
	}
	return strings.Join(hints, "; ")
}

// warnShutOut says so where the person has encrypted to others alone: a line that
// a merge has lost would be noticed when nobody is left who opens the vault.
func (e *env) warnShutOut(r *repo.Repo, ids *vault.Identities, did []vault.Stale) {
	written := r.Vault
	written.Seen = nil
	lists, known := r.Vault.Lists(), map[string]bool{} // one file tells of all for the same recipients
	var first string
	shut := 0
	for _, s := range did {
		rs, err := lists.Of(s.Host)
		if err != nil {
			continue
		}
		key := fmt.Sprint(rs.Fingerprints())
		opens, ok := known[key]
		if !ok {
			opens = written.MayOpen(ids, s.Name)
			known[key] = opens
		}
		if !opens {
			first = cmp.Or(first, r.Vault.Path(s.Host, s.File))
			shut++
		}
	}
	if shut > 0 {
		e.ui.Warn(fault.New("you cannot open any more", first, fmt.Sprintf("it and %d more are encrypted to others alone, and to none of the identities of this run", shut-1),
			"if that is a mistake: git checkout COMMIT -- vault, of a commit from before"))
	}
}

// onlyCopies refuses to encrypt to others alone what no commit has yet: a line of a list
// that a slip has lost would be noticed when nobody is left who opens the files. Of what
// is committed the older version opens still.
func onlyCopies(r *repo.Repo, ctx context.Context, ids *vault.Identities, stale []vault.Stale) error {
	top, err := git.Top(r.Vault.Dir)
	mine, mineErr := ids.Recipients()
	if err != nil || mineErr != nil || len(mine) == 0 || ids.Untold() {
		return nil // nothing to compare with
	}
	lists := r.Vault.Lists()
	var shut []string
	for _, s := range stale {
		rs, err := lists.Of(s.Host)
		if err == nil && !s.Sealed && !slices.ContainsFunc(rs, func(r vault.Recipient) bool { return slices.Contains(mine, r.Text) }) {
			shut = append(shut, r.Vault.Path(s.Host, s.File))
		}
	}
	if len(shut) == 0 {
		return nil
	}
	changed, err := git.Changed(ctx, r.Dir, r.Vault.Dir)
	if err != nil {
		return err
	}
	for _, path := range shut {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		if name, err := filepath.Rel(top, real); err == nil && slices.Contains(changed, name) {
			return fault.New("you could not open it any more, and no commit has it:", path, "the lists name others alone, and none of the identities of this run; nothing was written",
				fmt.Sprintf("git -C %[1]s add -A -- vault && git -C %[1]s commit, then this again", ui.Quoted(r.Dir)))
		}
	}
	return nil
}
