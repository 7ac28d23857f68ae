package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// RekeyOptions say what to encrypt again.
type RekeyOptions struct {
	Hosts  []string // none: all
	Skip   []string // hosts whose files stay as they are
	DryRun bool

	// Own are the user's identities besides those of this run, if -i names others.
	Own *vault.Identities
}

// A Rekey is the set of vault files whose recipients differ from the lists.
type Rekey struct {
	maker   *Maker
	o       RekeyOptions
	hosts   []string
	Stale   []vault.Stale
	Skipped error // what --skip leaves as it is
	forget  func()
}

// Rekey finds what has to be encrypted again. During a git merge it chooses a side of each
// conflict if it can; in a dry run it returns an error that says what there is to do. The
// caller closes the result.
func (m *Maker) Rekey(ctx context.Context, o RekeyOptions) (*Rekey, error) {
	q := &Rekey{maker: m, o: o, forget: func() {}}
	if err := q.settleMerge(ctx); err != nil {
		return nil, err
	}
	if len(o.Hosts) == 0 {
		q.forget = m.Repo.TakeSnapshot() // what is written is compared with the disk
	}
	if err := q.find(ctx); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

// find finds the files, and reports what prevents a rekey.
func (q *Rekey) find(ctx context.Context) (err error) {
	if q.hosts, err = q.findHosts(q.o.Hosts, q.o.Skip); err != nil {
		return err
	}
	if q.Stale, err = q.maker.Repo.Vault.Outdated(ctx, q.hosts); err != nil {
		q.sayOthers(err)
		return err
	}
	q.Skipped = q.leftAsTheyAre(ctx)
	return nil
}

// Close frees the memory of what was read.
func (q *Rekey) Close() { q.forget() }

// Run encrypts the files again. It returns those that it has replaced, also if there is an
// error, and the errors of those that it had to leave.
func (q *Rekey) Run(ctx context.Context, step func(done, all int)) (did []vault.Stale, left []error, err error) {
	r := q.maker.Repo
	job := &vault.Rekey{Vault: r.Vault, IDs: q.maker.IDs, Now: time.Now(), Hosts: q.hosts, Want: r.Expected, Step: step,
		Left: func(_ vault.Stale, err error) { left = append(left, err) }}
	did, err = job.Run(ctx, q.Stale)
	for _, s := range did {
		r.Changes.Touch(r.Vault.Path(s.Host, s.File))
		q.tellAlone(s)
	}
	if err != nil && len(did) == 0 {
		q.sayOthers(err)
	}
	return did, left, err
}

// tellAlone warns if a preshared key was accepted without another file to compare it with.
func (q *Rekey) tellAlone(s vault.Stale) {
	tunnel, peer := repo.OwnerOf(s.File)
	if !s.NoMeta || peer == "" {
		return
	}
	if other := q.maker.Repo.PSKFile(tunnel, peer, s.Host); other.Missing() {
		q.maker.Report.Warn(fault.NewFile("could not check the preshared key in",
			q.maker.Repo.Vault.Path(s.Host, s.File),
			"there is no "+other.File+" of "+peer+" in the vault to compare it with",
			"if it is the right one: "+repo.Commands(q.maker.Repo, tunnel).Run("gen", peer)))
	}
}

// sayOthers says how to rekey without the hosts that failed. If there is no identity for
// one of them, there usually is none for the others.
func (q *Rekey) sayOthers(err error) {
	hosts, bad := q.hosts, q.inTheWay(err)
	if errors.Is(err, vault.ErrNoIdentity) || len(bad) == 0 || len(bad) == len(hosts) {
		return
	}
	q.maker.Report.Say("nothing was written; to leave out what is in the way, the same command and --skip %s",
		strings.Join(bad, " --skip "))
}

// inTheWay returns those of the hosts that an error is about, in order.
func (q *Rekey) inTheWay(err error) []string {
	r := q.maker.Repo
	return slices.DeleteFunc(slices.Clone(q.hosts), func(host string) bool {
		about := false
		fault.Each(err, func(f *fault.Fault) {
			dir := filepath.Dir(f.File)
			about = about || f.Host == host || dir == filepath.Join(r.Vault.Dir, host) || dir == filepath.Join(r.Ring.Dir, host)
		})
		return !about
	})
}

// leftAsTheyAre warns of what --skip leaves readable for the present recipients.
func (q *Rekey) leftAsTheyAre(ctx context.Context) error {
	var errs []error
	skip := slices.Clone(q.o.Skip)
	slices.Sort(skip)
	for _, host := range slices.Compact(skip) {
		stale, err := q.maker.Repo.Vault.Outdated(ctx, []string{host})
		var why string
		switch {
		case err != nil:
			why = "some of them cannot be read"
		case len(stale) == 0:
			continue
		default:
			why = stale[0].File + " is to be encrypted again" + Because(stale[0])
		}
		errs = append(errs, fault.NewHost("did not rekey the files of host", host, why,
			"wgkeys check, then wgkeys rekey "+host))
	}
	return errors.Join(errs...)
}

// findHosts returns the hosts named, or all that have a folder in the vault, without those
// to skip.
func (q *Rekey) findHosts(named, skip []string) ([]string, error) {
	all, err := q.maker.Repo.Vault.Hosts()
	if err != nil {
		return nil, err
	}
	for _, host := range slices.Concat(named, skip) {
		if !slices.Contains(all, host) {
			why := "there is no folder vault/" + host
			if near := ui.DidYouMean(host, all, strconv.Quote); near != "" {
				why += ": " + near
			}
			return nil, ui.ExitWith(ui.ExitUsage, fault.NewHost("no such host in the vault", host, why, "ls vault"))
		}
	}
	hosts := all
	if len(named) > 0 {
		slices.Sort(named)
		hosts = slices.Compact(named)
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return slices.Contains(skip, h) }), nil
}

// mine returns the user's recipients, by their texts: none if some are not known.
func (q *Rekey) mine() []string {
	ids, own := q.maker.IDs, q.o.Own
	mine, err := ids.Recipients()
	if err != nil || len(mine) == 0 || ids.Unnamed() || own != nil && own.Unnamed() {
		return nil
	}
	if own != nil {
		more, _ := own.Recipients() // without those that cannot be read
		mine = append(mine, more...)
	}
	return mine
}

// OnlyCopies refuses to encrypt files that are in no commit so that the user could no
// longer open them: a line that was lost from a list would be noticed only when nobody is
// left who can. The old version of a committed file can still be opened.
func (q *Rekey) OnlyCopies(ctx context.Context) error {
	r, mine := q.maker.Repo, q.mine()
	top, err := git.Top(r.Vault.Dir)
	if err != nil || len(mine) == 0 {
		return nil // nothing to compare with
	}
	lists := r.Vault.Lists()
	var shut []string
	for _, s := range q.Stale {
		rs, err := lists.Of(s.Host)
		if err == nil && !s.Sealed &&
			!slices.ContainsFunc(rs, func(r vault.Recipient) bool { return slices.Contains(mine, r.Text) }) {
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
		if name, err := filepath.Rel(top, real); err == nil && slices.Contains(changed, filepath.ToSlash(name)) {
			return fault.NewFile("will not take your own access from you to", path,
				"no commit has it, and the lists name only others, none of the identities of this run; nothing was written",
				fmt.Sprintf("git -C %[1]s add -A -- vault && git -C %[1]s commit, then this again", ui.Quoted(r.Dir)))
		}
	}
	return nil
}

// WarnShutOut warns if the user can no longer open what was encrypted: a line that a merge
// has lost would be noticed only when nobody is left who can open the vault.
func (q *Rekey) WarnShutOut(did []vault.Stale) {
	r, ids := q.maker.Repo, q.maker.IDs
	written := r.Vault
	written.Snapshot = nil
	lists, known := r.Vault.Lists(), map[string]bool{} // one file stands for all with the same recipients
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
			opens = ids.MayOpen(written, s.Name) || q.o.Own != nil && q.o.Own.MayOpen(written, s.Name)
			known[key] = opens
		}
		if !opens {
			first = cmp.Or(first, r.Vault.Path(s.Host, s.File))
			shut++
		}
	}
	if shut > 0 {
		are := "it is"
		if shut > 1 {
			are = fmt.Sprintf("it and %d more are", shut-1)
		}
		q.maker.Report.Warn(fault.NewFile("you cannot open any more", first,
			are+" encrypted to others alone, and to none of the identities of this run",
			"if that is a mistake: git checkout COMMIT -- vault, of a commit from before"))
	}
}

// Because returns why a file is encrypted again.
func Because(s vault.Stale) string {
	var why []string
	for _, m := range s.Missing {
		why = append(why, "for "+m.String())
	}
	for _, f := range s.Gone {
		why = append(why, "no longer for "+f.String())
	}
	if s.NoMeta {
		why = []string{"wgkeys did not make it"}
	}
	return ": " + strings.Join(why, ", ")
}
