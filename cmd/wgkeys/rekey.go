package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/keys"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

func rekeyCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name: "rekey",
		UsageText: "wgkeys rekey                          # after a change of a recipients.txt\n" +
			"wgkeys rekey -n",
		Usage:     "encrypt the vault again, to the present recipients",
		ArgsUsage: "[HOST...]",
		Description: "Only files whose recipients differ from the lists are written, and the keys in them\n" +
			"stay the same. Everything is decrypted and compared before anything is written;\n" +
			"whatever stops it, every file opens, and another rekey finishes. Somebody who left may\n" +
			"have kept what he could read: rotate makes new keys.",
		Flags: []cli.Flag{identityFlag, dryRunFlag, jsonFlag, commitFlag,
			&cli.StringSliceFlag{Name: "skip",
				Usage: "leave the files of `HOST` as they are, for instance if one is damaged; may be repeated"}},
	}, doRekey
}

func doRekey(e *env) error {
	r, err := e.writingOrDryRun()
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx, e.names()...); err != nil {
		return err
	}
	ids := e.identities()
	q, err := e.maker(r, ids).Rekey(e.ctx, keys.RekeyOptions{Hosts: e.names(), Skip: e.cli.StringSlice("skip"),
		DryRun: e.cli.Bool("dry-run"), Own: ownIdentities(e)})
	if err != nil {
		return err
	}
	defer q.Close()
	if len(q.Stale) == 0 {
		e.ui.Say("nothing to do")
	}
	json := e.cli.Bool("json")
	if e.cli.Bool("dry-run") {
		return rekeyDry(e, q.Stale, q.Skipped, json)
	}
	defer e.warnLoose(ids)
	return rekeyAll(e, q, r, json)
}

// rekeyAll encrypts again, and reports what was done.
func rekeyAll(e *env, q *keys.Rekey, r *repo.Repo, json bool) error {
	if err := q.OnlyCopies(e.ctx); err != nil {
		return err
	}
	step, end := e.ui.Progress("encrypting again")
	did, left, err := q.Run(e.ctx, step)
	end()
	err = errors.Join(err, rekeyed(e, did, "", json))
	q.WarnShutOut(did)
	if err != nil && len(did) == 0 {
		return errors.Join(append(left, err)...)
	}
	some := errors.Join(append(left, err, q.Skipped)...)
	if err = r.Changes.Commit(e.ctx, e.ui, "rekey", changesOf(did), some); some != nil {
		err = ui.ExitWith(ui.ExitSome, err)
	}
	return err
}

func rekeyDry(e *env, stale []vault.Stale, skipped error, json bool) error {
	if err := rekeyed(e, stale, "to be ", json); err != nil || len(stale) == 0 && skipped == nil {
		return err
	}
	return ui.ExitWith(ui.ExitFindings, skipped)
}

// A rekeyedFile is the outcome for a file, for programs.
type rekeyedFile struct {
	Host    string              `json:"host"`
	File    string              `json:"file"`
	Action  string              `json:"action"`
	Added   []string            `json:"added"`
	Removed []vault.Fingerprint `json:"removed"`
}

// rekeyed reports what was done or, if when is "to be ", what would be done, and warns of
// what rekey cannot do.
func rekeyed(e *env, did []vault.Stale, when string, json bool) error {
	out := []rekeyedFile{}
	for _, s := range did {
		action := when + "encrypted again"
		if s.NoMeta {
			action = when + "taken in"
		}
		f := rekeyedFile{s.Host, s.File, action, []string{}, append([]vault.Fingerprint{}, s.Gone...)}
		for _, m := range s.Missing {
			f.Added = append(f.Added, m.String())
		}
		out = append(out, f)
		if !json {
			e.ui.Printf("%s %s %s\n", s.Host, s.File, action+keys.Because(s))
		}
	}
	if json {
		if err := e.ui.JSON(out); err != nil {
			return err
		}
	}
	warnHistory(e, did)
	return nil
}

func changesOf(did []vault.Stale) []string {
	var lines []string
	for _, s := range did {
		lines = append(lines, fmt.Sprintf("%s %s%s", s.Host, s.File, keys.Because(s)))
	}
	return lines
}

// warnHistory warns of what encrypting again cannot do: git keeps the old ciphertext, which
// its recipients can still open.
func warnHistory(e *env, did []vault.Stale) {
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
		"the old ciphertext stays in git's history and in every clone, and only new keys help",
		historyHint(hosts, gone, psks)))
}

// historyHint is the command that replaces the keys. Preshared ones are not replaced by
// rotate; for each of them check says how.
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
