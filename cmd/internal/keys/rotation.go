package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/push"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// run replaces the key, or finishes an interrupted rotation.
func (x *rotation) run(ctx context.Context) error {
	defer x.maker.Hosts.HangUp()
	over, err := x.finishPromotion()
	switch {
	case err != nil:
		return err
	case x.o.Now:
		return x.revoke(ctx)
	case over:
		return nil
	}
	next, err := x.maker.Repo.Ring.Next(x.host, x.tunnel.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := x.canBeOnHost(); err != nil {
		return err
	}
	if !x.o.DryRun {
		x.rotation.Next = next
	}
	survey, err := x.rotation.Survey(ctx)
	if err != nil {
		return err
	}
	x.tellLimits(survey)
	if err := x.knows(ctx, survey.Live(), next); err != nil {
		return err
	}
	switch {
	case !next.IsZero() && survey.Live() == next:
		x.maker.Report.Say("%s: it uses its next key already; this finishes an earlier rotation", x.host)
		if x.o.DryRun {
			return nil
		}
		err = x.rotation.Finish(ctx, x.current, next)
	case x.o.DryRun:
		return x.rotation.EnsureSessions(ctx, survey)
	default:
		next, err = x.replace(ctx, survey)
	}
	if err != nil {
		return err
	}
	return x.settle(next)
}

// finishPromotion does the second of the two renames at the end of a rotation, if a crash
// prevented it. The hosts have the next key already.
func (x *rotation) finishPromotion() (over bool, err error) {
	c, err := x.maker.Repo.KeyState(x.host, x.tunnel.Name)
	if err != nil || !c.VaultPromoted {
		return false, err
	}
	x.maker.Report.Say("%s: the hosts use its next key already; this finishes an earlier rotation in the repository",
		x.host)
	x.current = c.Next
	if x.o.DryRun {
		return true, nil
	}
	return true, x.settle(c.Next)
}

// tellLimits reports what the promise does not cover on these hosts.
func (x *rotation) tellLimits(s *rotate.Survey) {
	if names := s.CannotHold(x.rotation); len(names) > 0 && !x.o.NoHold {
		x.maker.Report.Say("note: %s cannot buffer packets during the switch: bursts over 128 will drop",
			strings.Join(names, ", "))
	}
}

// knows refuses a host that uses a key which this repository has neither as its present key
// nor as the next one: the clone is behind, and its next key may be one that was replaced
// long ago, perhaps because it was stolen.
func (x *rotation) knows(ctx context.Context, live, next keyring.PublicKey) error {
	if live == x.current || live == next || x.o.Unknown {
		return nil
	}
	if err := x.refuseOlder(ctx, live, next); err != nil {
		return err
	}
	past := repo.KeyHistory{Repo: x.maker.Repo}
	if other := past.OtherHost(x.host, live.String()); other != "" {
		return fault.NewHost("another host's key is in use on host", x.host, "it is "+live.String()+", that of "+other+
			": its disk was copied, or ssh reaches one machine by both names", remote.InPlaceOf(x.tunnel, x.host))
	}
	return fault.NewHost("this repository does not know the key in use on host", x.host,
		"it is "+live.String()+"; the repository may be behind",
		x.catchUp(ctx, live, "rotate"))
}

// catchUp is the hint that makes this clone know the key in use.
func (x *rotation) catchUp(ctx context.Context, live keyring.PublicKey, verb string) string {
	past := repo.KeyHistory{Repo: x.maker.Repo}
	return past.CatchUp(ctx, x.tunnel.Name, "", live.String(),
		repo.Command{Verb: verb, Host: x.host, In: x.tunnel.Commands})
}

// canBeOnHost refuses to make a key on the host while the vault has a next key from an
// earlier rotation.
func (x *rotation) canBeOnHost() error {
	if !x.o.OnHost {
		return nil
	}
	name := vault.KeyFile(keyring.Next(x.tunnel.Name))
	_, err := x.maker.Repo.Vault.Meta(x.host, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, vault.ErrNoMeta):
		return err
	}
	return fault.NewHost("a rotation with a key from the vault is under way on host", x.host,
		"it is not one that the host has made",
		x.tunnel.Commands.Run("rotate", x.host)+", then "+x.tunnel.Commands.Run("rotate --on-host", x.host))
}

// replace makes the next key, installs it on the host and switches to it.
func (x *rotation) replace(ctx context.Context, s *rotate.Survey) (keyring.PublicKey, error) {
	if err := x.rotation.EnsureSessions(ctx, s); err != nil {
		return keyring.PublicKey{}, err
	}
	next, err := x.nextKey(ctx)
	if err != nil {
		return next, err
	}
	if !x.onHost() {
		if err := x.install(ctx, next); err != nil {
			return next, err
		}
	}
	err = x.rotation.Replace(ctx, s, next)
	if err != nil && len(fault.Hints(err)) == 0 { // as after an interrupt: the next key is in the repository
		err = fault.WrapHost(err, "did not finish the rotation of host", x.host,
			x.tunnel.Commands.Run("rotate", x.host)+" finishes it")
	}
	return next, err
}

// onHost reports whether the host keeps its next key to itself: because that was asked for,
// now or when an earlier rotation began, or because it does so with the present key.
func (x *rotation) onHost() bool {
	if x.o.OnHost {
		return true
	}
	name := keyring.Next(x.tunnel.Name)
	if _, err := x.maker.Repo.Ring.Next(x.host, x.tunnel.Name); errors.Is(err, fs.ErrNotExist) {
		name = x.tunnel.Name
	}
	_, err := x.maker.Repo.Vault.Meta(x.host, vault.KeyFile(name))
	return errors.Is(err, fs.ErrNotExist)
}

// hasNoneInGit refuses to take a host for one that makes its keys itself where its key was in
// the vault and somebody has deleted the file.
func (x *rotation) hasNoneInGit(ctx context.Context) error {
	if x.o.OnHost {
		return nil
	}
	past := repo.KeyHistory{Repo: x.maker.Repo}
	bring := past.Deleted(ctx, x.host, vault.KeyFile(x.tunnel.Name), x.current)
	if bring == "" {
		return nil
	}
	return fault.NewHost("no private key in the vault for host", x.host, "it was deleted there, and git has it",
		bring+", then "+x.tunnel.Commands.Run("rotate", x.host)+"; if the host is to make its key itself: "+
			x.tunnel.Commands.Run("rotate --on-host", x.host))
}

// nextKey makes the next key, or takes that of an earlier rotation. It is in the vault
// before any host has it.
func (x *rotation) nextKey(ctx context.Context) (keyring.PublicKey, error) {
	name := keyring.Next(x.tunnel.Name)
	if err := x.maker.Repo.Sweep(x.host); err != nil {
		return keyring.PublicKey{}, err
	}
	x.maker.Repo.TouchKeys(x.host, x.tunnel.Name)
	public, err := x.maker.Repo.Ring.Get(x.host, name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	meta, err := x.maker.Repo.Vault.Meta(x.host, vault.KeyFile(name))
	switch {
	case err == nil:
		public = meta.PublicKey
	case !errors.Is(err, fs.ErrNotExist):
		return public, err
	case x.onHost():
		if err := x.hasNoneInGit(ctx); err != nil {
			return public, err
		}
		which := rotate.Next
		if x.o.Now {
			which = rotate.Fresh // a key that the repository does not know may belong to whoever stole the old one
		}
		if public, err = x.maker.makeOnHost(ctx, x.tunnel, x.host, which); err != nil {
			return public, err
		}
		if public == x.current {
			return public, fault.NewHost("no other key was made on host", x.host, "it names the one it has",
				x.tunnel.Commands.Run("status", x.host))
		}
	default:
		err := x.maker.Step("seal the next key", func() error {
			public, err = x.maker.seal(x.host, vault.KeyFile(name))
			return err
		})
		if err == nil && !x.o.Now {
			err = x.requireOpens(vault.KeyFile(name), public)
		}
		if err != nil {
			return public, err
		}
	}
	return public, x.maker.Step("write the next public key",
		func() error { return x.maker.Repo.Ring.Put(x.host, name, public) })
}

// requireOpens removes a next key that was made a moment ago if no identity of this run opens
// it: it could not be installed, and would have begun a rotation.
func (x *rotation) requireOpens(file string, public keyring.PublicKey) error {
	v := x.maker.Repo.Vault
	if x.maker.IDs.MayOpen(v, vault.Name{Host: x.host, File: file}) {
		return nil
	}
	_, err := v.OpenKey(x.host, file, public, x.maker.IDs)
	if err == nil {
		return nil
	}
	return errors.Join(err, v.RemoveKey(x.host, file))
}

// install brings the next key to the host, beside the present one.
func (x *rotation) install(ctx context.Context, next keyring.PublicKey) error {
	file := push.File{Path: rotate.NextFile(x.tunnel.Name, x.rotation.Host.KeyFile), Want: next.String()}
	file.Secret = func() ([]byte, error) {
		k, err := x.maker.Repo.Vault.OpenKey(x.host, vault.KeyFile(keyring.Next(x.tunnel.Name)), next, x.maker.IDs)
		if err != nil {
			return nil, err
		}
		return k.File(), nil
	}
	return x.maker.Step("push", func() error {
		_, err := push.Host(ctx, x.maker.Hosts.Runner(x.tunnel, x.host), x.host, []push.File{file})
		return err
	})
}

// settle makes the next key the current one in the repository, after the hosts have proved
// it.
func (x *rotation) settle(next keyring.PublicKey) error {
	if err := x.maker.Repo.Promote(x.host, x.tunnel.Name, x.maker.Step); err != nil {
		return err
	}
	x.settled = next
	x.made = append(x.made, fmt.Sprintf("%s %s %s", x.host, x.tunnel.Name, next))
	x.warnLeftBehind(next)
	x.o.Done(rotate.Event{Host: x.host, Tunnel: x.tunnel.Name, Phase: "finished", Key: next}, x.made[len(x.made)-1])
	return nil
}

// warnLeftBehind names the peers that still have the old key: a few with an error each,
// many with one command.
func (x *rotation) warnLeftBehind(next keyring.PublicKey) {
	const few = 3
	behind := slices.Concat(x.skipped, x.rotation.LeftBehind)
	if len(behind) > few {
		x.maker.Report.Warn(fault.New("left behind by the rotation of "+x.host+":", strings.Join(behind, ", "),
			"they still have the old key",
			x.tunnel.Commands.Run("apply", behind...)))
		return
	}
	for _, name := range behind {
		x.maker.Report.Warn(fault.New("left behind by the rotation of "+x.host+":", name, "it still has the old key",
			x.tunnel.Commands.Run("apply", name)+"; without wgkeys there: replace the public key of "+
				x.host+" by "+next.String()))
	}
}

// refuseOlder refuses to rotate the key of a host that uses an older one than the
// repository has.
func (x *rotation) refuseOlder(ctx context.Context, live, next keyring.PublicKey) error {
	if live == x.current || live == next || !(&repo.KeyHistory{Repo: x.maker.Repo}).IsOlder(ctx, x.host, x.tunnel.Name,
		x.current, live) {
		return nil
	}
	return fault.NewHost("an older key than the repository has is in use on host", x.host,
		"it is "+live.String()+", as after a restore",
		remote.InPlaceOf(x.tunnel, x.host)+", then "+x.tunnel.Commands.Run("rotate", x.host))
}
