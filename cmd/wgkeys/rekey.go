package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
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
	find := e.writing
	if e.cli.Bool("dry-run") {
		find = e.repo
	}
	r, err := find()
	if err != nil {
		return err
	}
	if err := r.has(e.ctx, e.names()); err != nil {
		return err
	}
	if err := r.settle(e); err != nil {
		return err
	}
	if len(e.names()) == 0 {
		defer r.look()() // what is written is compared with the disk
	}
	hosts, err := r.rekeyHosts(e.names(), e.cli.StringSlice("skip"))
	if err != nil {
		return err
	}
	stale, err := r.vault.Outdated(e.ctx, hosts)
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
	if err := r.onlyCopies(e.ctx, ids, stale); err != nil {
		return err
	}
	step, end := e.ui.Progress("encrypting again")
	var left []error
	job := &vault.Rekey{Vault: r.vault, IDs: ids, Now: time.Now(), Hosts: hosts, Want: r.wantHalf, Step: step, Left: func(_ vault.Stale, err error) { left = append(left, err) }}
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
	if err = r.commit(e, "rekey", changesOf(did), some); some != nil {
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
func (e *env) skipped(r *repo) error {
	var errs []error
	skip := slices.Clone(e.cli.StringSlice("skip"))
	slices.Sort(skip)
	for _, host := range slices.Compact(skip) {
		stale, err := r.vault.Outdated(e.ctx, []string{host})
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
func (r *repo) rekeyHosts(named, skip []string) ([]string, error) {
	all, err := r.vault.Hosts()
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
func (e *env) rekeyed(r *repo, did []vault.Stale, action string) error {
	out := []rekeyedFile{}
	for _, s := range did {
		f := rekeyedFile{s.Host, s.File, action, []string{}, append([]vault.Fingerprint{}, s.Gone...)}
		for _, m := range s.Missing {
			f.Added = append(f.Added, m.String())
		}
		out = append(out, f)
		if r != nil {
			r.touch(r.vault.Path(s.Host, s.File))
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
	e.ui.Warn(fault.New("whoever left could read", counted(keys, psks),
		"the old ciphertext stays in git's history and in every clone, and only new keys help", historyHint(hosts, gone, psks)))
}

// counted says how many private keys and files of preshared ones there are.
func counted(keys, psks int) string {
	var parts []string
	for _, c := range []struct {
		n    int
		noun string
	}{{keys, "key"}, {psks, "preshared key file"}} {
		switch c.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+c.noun)
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", c.n, c.noun))
		}
	}
	return strings.Join(parts, " and ")
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
func (e *env) warnShutOut(r *repo, ids *vault.Identities, did []vault.Stale) {
	written := r.vault
	written.Seen = nil
	lists, known := r.vault.Lists(), map[string]bool{} // one file tells of all for the same recipients
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
			first = cmp.Or(first, r.vault.Path(s.Host, s.File))
			shut++
		}
	}
	if shut > 0 {
		e.ui.Warn(fault.New("you cannot open any more", first, fmt.Sprintf("it and %d more are encrypted to others alone, and to none of the identities of this run", shut-1),
			"if that is a mistake: git checkout COMMIT -- vault, of a commit from before"))
	}
}

// wantHalf is what a vault file has to hold, by the keyring or, for a preshared key,
// by the file of the other host.
func (r *repo) wantHalf(n vault.Name) (vault.Half, error) {
	if tunnel, ok := strings.CutSuffix(n.File, ".key"); ok {
		public, err := r.wantKey(n.Host, tunnel)
		return vault.Half{PublicKey: public}, err
	}
	tunnel, peer := r.ownerOf(n.Host, n.File)
	if tunnel == "" {
		return vault.Half{}, fault.New("no name of a preshared key:", n.File, "it is TUNNEL.PEER.psk", "")
	}
	mine, other, err := r.halves(tunnel, n.Host, peer)
	switch {
	case err != nil:
		return vault.Half{}, err
	case other.err == nil:
		return vault.Half{PSK: other.PSK}, nil
	case mine.err == nil: // what is wrong with the other is told of the other host
		return vault.Half{PSK: mine.PSK}, nil
	}
	return vault.Half{}, errors.Join(mine.err, other.err)
}

// wantKey is the public key of a host's wg0.key or wg0.next.key. In the middle
// of a rotation the keyring may be a step behind, or a step short.
func (r *repo) wantKey(host, name string) (public keyring.PublicKey, err error) {
	tunnel, next := strings.CutSuffix(name, ".next")
	c, err := r.changeOf(host, tunnel)
	switch {
	case err != nil:
		return public, err
	case next && c.next.IsZero():
		return c.inVault, nil
	case next, c.half:
		return c.next, nil
	}
	if public, err = r.ring.Seen(r.seen, host, tunnel); errors.Is(err, fs.ErrNotExist) {
		return public, fault.Wrap(err, "no public key to compare with for host", host, "wgkeys gen "+host)
	}
	return public, err
}
