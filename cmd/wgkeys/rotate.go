package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/check"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/push"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

func rotateCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "rotate",
		Usage:     "replace keys in a running tunnel, losing no packet",
		ArgsUsage: "[HOST...]",
		Description: "Without HOST: every host. Each host gets another private key, and all its peers\n" +
			"follow at the same moment; wgkeys must be on all of them. If anything goes wrong\n" +
			"they go back to the old key by themselves. The preshared keys with its peers are\n" +
			"replaced too. A rotation that was interrupted is\n" +
			"finished by the next one. With --now the old key is refused everywhere first:\n" +
			"for a key that was stolen.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "due", Usage: "only keys older than max_key_age in " + repo.Marker},
			&cli.StringFlag{Name: "leaver", Usage: "only keys that `RECIPIENT`, who has left, could ever read"},
			&cli.BoolFlag{Name: "psk", Usage: "only the preshared keys, which are replaced with a key otherwise"},
			&cli.BoolFlag{Name: "unknown", Usage: "also where a host uses a key that this repository does not know"},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave `PEER` behind, which cannot be reached; may be repeated"},
			&cli.BoolFlag{Name: "now", Usage: "a key was stolen: refuse it at once, whatever is lost"},
			&cli.BoolFlag{Name: "on-host", Usage: "the host makes its key itself, and it never leaves the host"},
			&cli.BoolFlag{Name: "no-hold", Usage: "hold no packets, as on a kernel that cannot"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "ask `N` hosts at once", Value: defaultJobs},
			tunnelFlag, identityFlag, dryRunFlag, jsonFlag, commitFlag, timeoutFlag,
		},
	}, doRotate
}

func doRotate(e *env) error {
	if e.cli.Bool("now") && len(e.names()) == 0 {
		return ui.Usage("no host named for", "wgkeys rotate --now", "it breaks connections", "wgkeys rotate --now HOST")
	}
	if e.cli.Int("jobs") < 1 {
		return ui.Usage("too few hosts at once for", "wgkeys rotate", "-j begins with 1", "wgkeys rotate --help")
	}
	if err := e.namesLeaver(); err != nil {
		return err
	}
	r, err := e.writingUnlessDry()
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx, e.names()...); err != nil {
		return err
	}
	turns, psks, made, err := findTurns(r, e)
	if err != nil {
		return err
	}
	if len(turns)+len(psks) == 0 && len(made) > 0 {
		return r.Changes.Commit(e.ctx, e.ui, "rotate", made, nil)
	}
	if len(turns)+len(psks) == 0 {
		e.ui.Say("nothing to do: %s", e.whyNoTurn())
		return nil
	}
	if err := e.askForTurns(turns, psks); err != nil {
		return err
	}
	var errs []error
	for i, x := range turns {
		if e.ctx.Err() != nil {
			errs = append(errs, fault.New("stopped before host", x.host, fmt.Sprintf("%d of %d are left", len(turns)-i, len(turns)), "wgkeys rotate "+x.host))
			break
		}
		if err := x.take(); err != nil {
			errs = append(errs, err)
		}
		made = append(made, x.made...)
	}
	for _, x := range psks {
		if e.ctx.Err() != nil {
			break
		}
		if err := x.take(); err != nil {
			errs = append(errs, err)
		}
		made = append(made, x.made...)
	}
	if e.cli.Bool("dry-run") && len(errs) == 0 {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return failures(len(errs), len(turns)+len(psks), r.Changes.Commit(e.ctx, e.ui, "rotate", made, errors.Join(errs...)))
}

// whyNoTurn tells why there is nothing to rotate.
func (e *env) whyNoTurn() string {
	switch {
	case e.cli.Bool("due"):
		return "no key is due"
	case e.cli.Bool("psk"):
		return "no tunnel asks for preshared keys of them, with psk = true"
	case e.cli.IsSet("leaver"):
		return "no key is left that " + e.cli.String("leaver") + " could read"
	}
	return "every host is left out by --skip, or there is none"
}

// namesLeaver refuses a --leaver that names nobody, as a variable of a script does
// that is not set: the verb would do what it does without.
func (e *env) namesLeaver() error {
	if e.cli.IsSet("leaver") && strings.TrimSpace(e.cli.String("leaver")) == "" {
		verb := "wgkeys " + e.cli.Command.Name
		return ui.Usage("nobody is named by --leaver of", verb, "its value is empty", verb+" --leaver RECIPIENT")
	}
	if vault.HoldsSecret(e.cli.String("leaver")) { // the text is not to be shown
		return ui.Usage("no recipient is named by --leaver of", "wgkeys "+e.cli.Command.Name, "its value has an identity or a private key in it", "age-keygen -y IDENTITY tells its recipient")
	}
	return nil
}

// askForTurns shows what will happen and asks.
func (e *env) askForTurns(turns []*turnOf, psks []*pskTurn) error {
	for _, x := range turns {
		peers := "no peer"
		if len(x.rotation.Peers) > 0 {
			var names []string
			for _, p := range x.rotation.Peers {
				names = append(names, p.Host)
			}
			peers = strings.Join(names, ", ")
		}
		text := "gets a new key; " + peers + " will follow"
		x.report(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "plan", Text: text})
	}
	for _, x := range psks {
		e.turnOfPSK(x)
	}
	if e.cli.Bool("yes") || e.cli.Bool("dry-run") {
		return nil
	}
	yes, err := e.ui.Confirm(fmt.Sprintf("rotate %d of them?", len(turns)+len(psks)))
	if err == nil && !yes {
		err = ui.ExitWith(ui.ExitFailed, nil)
	}
	return err
}

// findTurns are the rotations that were asked for, one for each host of each tunnel.
func findTurns(r *repo.Repo, e *env) (turns []*turnOf, psks []*pskTurn, owed []string, err error) {
	left, err := leftBy(r, e)
	if err == nil {
		turns, err = keyTurns(r, e, left)
	}
	if err == nil && !e.cli.Bool("psk") {
		turns, owed = withoutOwed(r, e, turns)
	}
	if err == nil {
		psks, err = pskTurns(r, e, turns, left)
	}
	if e.cli.Bool("psk") {
		turns = nil
	}
	return turns, psks, owed, err
}

func keyTurns(r *repo.Repo, e *env, left *check.Exposure) ([]*turnOf, error) {
	tunnels, err := r.SomeTunnels(e.cli.String("tunnel"))
	if err != nil {
		return nil, err
	}
	var due []repo.HostKey
	if e.cli.Bool("due") {
		if r.MaxKeyAge == 0 {
			return nil, ui.Usage("cannot tell which keys are due in", r.Dir, "max_key_age is not set in "+repo.Marker,
				`write max_key_age = "365d" into `+repo.Marker)
		}
		if due, err = r.Due(time.Now()); err != nil {
			return nil, err
		}
	}
	var turns []*turnOf
	ids, known, skips := e.identities(), map[string]bool{}, e.cli.StringSlice("skip")
	for _, t := range tunnels {
		for _, host := range t.Hosts() {
			known[host] = true
			isDue := slices.ContainsFunc(due, func(k repo.HostKey) bool { return k.Host == host && k.Tunnel == t.Name })
			named := slices.Contains(e.names(), host)
			if len(e.names()) > 0 && !named || e.cli.Bool("due") && !isDue || left != nil && !left.Has(host, t.Name) || !named && slices.Contains(skips, host) {
				continue
			}
			x, err := newTurn(r, e, t, host, ids)
			if err != nil {
				return nil, err
			}
			turns = append(turns, x)
		}
	}
	for _, name := range slices.Concat(e.names(), skips) {
		if !known[name] {
			return nil, fault.New("no such host", name, "no tunnel file names it", "grep hosts "+tunnel.Dir+"/*.toml")
		}
	}
	return turns, nil
}

// A turnOf is the rotation of one host's key in one tunnel.
type turnOf struct {
	*env
	repo     *repo.Repo
	tunnel   *tunnel.Tunnel
	host     string
	current  keyring.PublicKey
	ids      *vault.Identities
	rotation *rotate.Rotation
	skipped  []string
	made     []string // keys that are current now, for a person
}

func newTurn(r *repo.Repo, e *env, t *tunnel.Tunnel, host string, ids *vault.Identities) (*turnOf, error) {
	current, err := r.Ring.Get(host, t.Name)
	if err != nil {
		return nil, fault.Wrap(err, "no key to replace on host", host, "wgkeys gen "+host)
	}
	view, err := r.View(t, host)
	if err != nil {
		return nil, err
	}
	x := &turnOf{env: e, repo: r, tunnel: t, host: host, current: current, ids: ids}
	x.rotation = &rotate.Rotation{Tunnel: t.Name, Jobs: e.cli.Int("jobs"), NoHold: e.cli.Bool("no-hold"), Report: x.report}
	if x.rotation.Host, err = e.hosts.Participant(t, host); err != nil {
		return nil, err
	}
	for _, p := range view.Peers {
		if slices.Contains(e.cli.StringSlice("skip"), p.Name) {
			x.skipped = append(x.skipped, p.Name)
			continue
		}
		party, err := e.hosts.Participant(t, p.Name)
		if err != nil {
			return nil, err
		}
		x.rotation.Peers = append(x.rotation.Peers, party)
	}
	return x, nil
}

func (x *turnOf) report(v rotate.Event) {
	if x.cli.Bool("json") {
		x.ui.Event(v)
		return
	}
	x.ui.Say("%s %s: %s", v.Host, v.Tunnel, v.Text)
}

// take replaces the key, or finishes a rotation that was interrupted.
func (x *turnOf) take() error {
	half, err := x.finishHalf()
	switch {
	case err != nil:
		return err
	case x.cli.Bool("now"):
		return x.takeNow()
	case half:
		return nil
	}
	next, err := x.repo.Ring.Next(x.host, x.tunnel.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := x.canBeOnHost(); err != nil {
		return err
	}
	if !x.cli.Bool("dry-run") {
		x.rotation.Next = next
	}
	survey, err := x.rotation.Survey(x.ctx)
	if err != nil {
		return err
	}
	x.tellLimits(survey)
	if err := x.knows(survey.Live(), next); err != nil {
		return err
	}
	switch {
	case !next.IsZero() && survey.Live() == next:
		x.ui.Say("%s: it uses its next key already; this finishes an earlier rotation", x.host)
		if x.cli.Bool("dry-run") {
			return nil
		}
		err = x.rotation.Finish(x.ctx, x.current, next)
	case x.cli.Bool("dry-run"):
		return x.rotation.Sessions(x.ctx, survey)
	default:
		next, err = x.replace(survey)
	}
	if err != nil {
		return err
	}
	return x.settle(next)
}

// finishHalf does the second of the two renames at the end of a rotation, where a
// crash left it to do. The hosts have the next key already.
func (x *turnOf) finishHalf() (half bool, err error) {
	c, err := x.repo.KeyState(x.host, x.tunnel.Name)
	if err != nil || !c.VaultPromoted {
		return false, err
	}
	x.ui.Say("%s: the hosts use its next key already; this finishes an earlier rotation in the repository", x.host)
	x.current = c.Next
	if x.cli.Bool("dry-run") {
		return true, nil
	}
	return true, x.settle(c.Next)
}

// tellLimits says what the promise does not cover on these hosts.
func (x *turnOf) tellLimits(s *rotate.Survey) {
	if names := s.CannotHold(x.rotation); len(names) > 0 && !x.cli.Bool("no-hold") {
		x.ui.Say("note: no packets can be held on %s: more than 128 in two round trips are lost", strings.Join(names, ", "))
	}
}

// knows refuses a host that uses a key which this repository does not have, neither as
// its present key nor as the next one: the clone is behind, and what it has for a next
// key may be one that was replaced long ago, because it was stolen, say.
func (x *turnOf) knows(live, next keyring.PublicKey) error {
	if live == x.current || live == next || x.cli.Bool("unknown") {
		return nil
	}
	if err := x.refuseOlder(live, next); err != nil {
		return err
	}
	return fault.New("this repository does not know the key in use on host", x.host, "it is "+live.String()+"; the repository may be behind",
		"git pull, then wgkeys rotate "+x.host+"; if nobody has it: wgkeys rotate --unknown "+x.host)
}

// canBeOnHost refuses to make a key on the host while another next key, which an
// earlier rotation has begun with, is in the vault.
func (x *turnOf) canBeOnHost() error {
	if !x.cli.Bool("on-host") {
		return nil
	}
	name := vault.KeyFile(keyring.Next(x.tunnel.Name))
	_, err := x.repo.Vault.Meta(x.host, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, vault.ErrNoMeta):
		return err
	}
	return fault.New("a rotation is under way with a key from the vault, of host", x.host, "it is not one that the host has made",
		fmt.Sprintf("wgkeys rotate %[1]s, then wgkeys rotate --on-host %[1]s", x.host))
}

// replace makes the next key, brings it to the host and changes to it.
func (x *turnOf) replace(s *rotate.Survey) (keyring.PublicKey, error) {
	if err := x.rotation.Sessions(x.ctx, s); err != nil {
		return keyring.PublicKey{}, err
	}
	next, err := x.nextKey()
	if err != nil {
		return next, err
	}
	if !x.onHost() {
		if err := x.install(x.ctx, next); err != nil {
			return next, err
		}
	}
	return next, x.rotation.Turn(x.ctx, s, next)
}

// onHost reports whether the host keeps its next key to itself: it was asked for,
// was when an earlier rotation began, or is so with the present key.
func (x *turnOf) onHost() bool {
	if x.cli.Bool("on-host") {
		return true
	}
	name := keyring.Next(x.tunnel.Name)
	if _, err := x.repo.Ring.Next(x.host, x.tunnel.Name); errors.Is(err, fs.ErrNotExist) {
		name = x.tunnel.Name
	}
	_, err := x.repo.Vault.Meta(x.host, vault.KeyFile(name))
	return errors.Is(err, fs.ErrNotExist)
}

// nextKey makes the next key, or takes the one that an earlier rotation has made.
// It is in the vault before any host holds it.
func (x *turnOf) nextKey() (keyring.PublicKey, error) {
	name := keyring.Next(x.tunnel.Name)
	if err := x.repo.Sweep(x.host); err != nil {
		return keyring.PublicKey{}, err
	}
	x.repo.TouchKeys(x.host, x.tunnel.Name)
	public, err := x.repo.Ring.Get(x.host, name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	meta, err := x.repo.Vault.Meta(x.host, vault.KeyFile(name))
	switch {
	case err == nil:
		public = meta.PublicKey
	case !errors.Is(err, fs.ErrNotExist):
		return public, err
	case x.onHost():
		which := rotate.Next
		if x.cli.Bool("now") {
			which = rotate.Fresh // one of which the repository knows nothing may be the thief's
		}
		if public, err = x.env.onHost(x.tunnel, x.host, which); err != nil {
			return public, err
		}
		if public == x.current {
			return public, fault.New("no other key was made on host", x.host, "it names the one it has", "wgkeys status "+x.host)
		}
	default:
		g := &generator{env: x.env, repo: x.repo, tunnel: x.tunnel.Name, ids: x.ids, now: time.Now()}
		err := testOnlyStep("seal the next key", func() error {
			public, err = g.seal(x.host, vault.KeyFile(name))
			return err
		})
		if err != nil {
			return public, err
		}
	}
	return public, testOnlyStep("write the next public key", func() error { return x.repo.Ring.Put(x.host, name, public) })
}

// install brings the next key to the host, beside the one it has.
func (x *turnOf) install(ctx context.Context, next keyring.PublicKey) error {
	file := push.File{Path: participant.NextFile(x.tunnel.Name, x.rotation.Host.KeyFile), Want: next.String()}
	file.Secret = func() ([]byte, error) {
		k, err := x.repo.Vault.OpenKey(x.host, vault.KeyFile(keyring.Next(x.tunnel.Name)), next, x.ids)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	return testOnlyStep("push", func() error {
		_, err := push.Host(ctx, x.hosts.Runner(x.tunnel, x.host), x.host, []push.File{file}, false)
		return err
	})
}

// settle makes the next key the current one in the repository. The hosts have
// proved it.
func (x *turnOf) settle(next keyring.PublicKey) error {
	if err := x.repo.Promote(x.host, x.tunnel.Name, testOnlyStep); err != nil {
		return err
	}
	x.made = append(x.made, fmt.Sprintf("%s %s %s", x.host, x.tunnel.Name, next))
	for _, name := range x.skipped {
		x.ui.Warn(fault.New("left behind by the rotation of "+x.host+":", name, "it still has the old key",
			"wgkeys apply "+name+"; without wgkeys there: replace the public key of "+x.host+" by "+next.String()))
	}
	if x.cli.Bool("json") {
		x.ui.Event(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "finished", Key: next})
	} else {
		x.ui.Printf("%s %s %s\n", x.host, x.tunnel.Name, next)
	}
	return nil
}

// withoutOwed leaves out the rotations of hosts whose new key only lacks its commit,
// and returns what is to be said of them in it.
func withoutOwed(r *repo.Repo, e *env, turns []*turnOf) (left []*turnOf, owed []string) {
	for _, x := range turns {
		c, err := r.KeyState(x.host, x.tunnel.Name)
		if err != nil || c.UnderWay() || !slices.Contains(r.Changes.Owed, r.Ring.Path(x.host, x.tunnel.Name)) {
			left = append(left, x)
			continue
		}
		owed = append(owed, fmt.Sprintf("%s %s replaced by an earlier command", x.host, x.tunnel.Name))
		e.ui.Say("%s has a new key in %s from an earlier command, which is committed now; it is not replaced again", x.host, x.tunnel.Name)
	}
	return left, owed
}

// refuseOlder refuses to rotate the key of a host that uses an older one than the
// repository has.
func (x *turnOf) refuseOlder(live, next keyring.PublicKey) error {
	if live == x.current || live == next || !(&repo.KeyHistory{Repo: x.repo}).IsOlder(x.ctx, x.host, x.tunnel.Name, x.current, live) {
		return nil
	}
	return fault.New("an older key than the repository has is in use on host", x.host, "it is "+live.String()+", as after a restore",
		strings.Join([]string{remote.InPlaceOf(x.host), "then wgkeys rotate " + x.host}, ", "))
}

// leftBy is what rotate --leaver asks for; nil without it.
func leftBy(r *repo.Repo, e *env) (*check.Exposure, error) {
	who := e.cli.String("leaver")
	if who == "" {
		return nil, nil
	}
	l, err := check.Exposed(e.ctx, r, who)
	if err != nil {
		return nil, err
	}
	if err := l.Still(r); err != nil {
		return nil, err
	}
	for _, err := range r.NarrowClones(e.ctx) {
		e.ui.Warn(err)
	}
	l.WarnUnknown(e.ui)
	return l, nil
}
