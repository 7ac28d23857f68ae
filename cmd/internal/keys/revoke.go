package keys

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// revoke replaces a stolen key.
func (x *rotation) revoke(ctx context.Context) error {
	if x.o.DryRun {
		x.maker.Report.Say("%s: its peers would refuse the key %s at once", x.host, x.current)
		return nil
	}
	c, err := x.maker.Repo.KeyState(x.host, x.tunnel.Name)
	if err != nil {
		return err
	}
	x.maker.Hosts.Batch = x.maker.IDs.MayAsk() // otherwise ssh would read what the user types for the vault
	if behind := x.behind(ctx, c.Next); behind != nil {
		return errors.Join(behind, x.rotation.Revoke(ctx, x.current))
	}
	first := x.refuse(ctx)
	switch {
	case errors.Is(first, errNoNext) && !c.Next.IsZero():
		return errors.Join(first, x.refuseWithout(ctx), x.refuseNext(ctx))
	case errors.Is(first, errNoNext):
		return errors.Join(first, x.refuseWithout(ctx))
	case !c.UnderWay():
		return first
	case errors.Is(first, rotate.ErrAccepted) && !x.rotation.Replaced():
		// The peers that could be reached have the next key since an earlier run of this.
		return first
	case errors.Is(first, rotate.ErrAccepted):
		return errors.Join(first, x.refuseNext(ctx))
	}
	stolen := x.current
	if x.current, err = x.maker.Repo.Ring.Get(x.host, x.tunnel.Name); err != nil {
		return errors.Join(first, err)
	}
	if x.current == stolen { // the repository could not be written
		return errors.Join(first, x.refuseNext(ctx))
	}
	// The next key of an earlier rotation was stored beside the key that was stolen.
	x.maker.Report.Say("%s: the next key of an earlier rotation may be stolen too; it is replaced as well", x.host)
	x.rotation.WaitIdle(ctx, x.current)
	second := x.refuse(ctx)
	if errors.Is(second, errNoNext) {
		second = errors.Join(second, x.refuseWithout(ctx))
	}
	return errors.Join(first, second)
}

// refuseNext makes the peers that could be reached refuse the next key of an earlier
// rotation as well, since it was stored beside the stolen one. It is not replaced yet: the
// repository keeps two keys, and those are the ones that the other peers still have to
// refuse.
func (x *rotation) refuseNext(ctx context.Context) error {
	next, err := x.maker.Repo.Ring.Next(x.host, x.tunnel.Name)
	if err != nil {
		return err
	}
	return errors.Join(x.rotation.Revoke(ctx, next),
		fault.NewHost("no peer that could be reached accepts a key of host", x.host,
			"its next key was kept beside the stolen one and may be stolen too; until the keyring has another one, an apply on a peer is refused",
			"when all can be reached, or else with --skip PEER for each of them: "+x.tunnel.Commands.Run("rotate --now", x.host)))
}

// refuseWithout makes the peers refuse a stolen key that has no successor.
func (x *rotation) refuseWithout(ctx context.Context) error {
	err := x.rotation.Revoke(ctx, x.current)
	if err == nil {
		x.maker.Report.Warn(fault.NewHost("no peer accepts any longer the key of host", x.host,
			"the keyring still has it; until it is replaced or removed there, an apply on a peer is refused",
			fmt.Sprintf("when %[1]s can be reached: %[4]s; if it is gone for good: rm -r %[2]s, and take it out of %[3]s/", x.host,
				repo.Existing(filepath.Join(x.maker.Repo.Ring.Dir, x.host), filepath.Join(x.maker.Repo.Vault.Dir, x.host)),
				tunnel.Dir, x.tunnel.Commands.Run("rotate --now", x.host))))
	}
	return err
}

// errNoNext marks the error of a host for which there is no next key.
var errNoNext = errors.New("there is no other key for it yet")

// refuse makes all peers take the next key; the host itself is left alone.
func (x *rotation) refuse(ctx context.Context) error {
	next, err := x.nextKey(ctx)
	if err != nil {
		return fmt.Errorf("%w; %w", err, errNoNext)
	}
	install := func(ctx context.Context) error {
		if x.onHost() {
			return nil
		}
		return x.install(ctx, next)
	}
	err = x.rotation.ReplaceNow(ctx, x.current, next, install)
	if errors.Is(err, rotate.ErrAccepted) {
		return err // the repository keeps both keys, so that the next run knows which one was stolen
	}
	return errors.Join(err, x.settle(next))
}

// behind refuses to replace a key that is no longer in use: the host has another one that
// this clone does not know, and so has a peer of it. The host alone is not trusted, since
// whoever stole the key may control it.
func (x *rotation) behind(ctx context.Context, next keyring.PublicKey) error {
	if x.o.Unknown {
		return nil
	}
	live := x.rotation.OtherKey(ctx, x.current, next)
	if live.IsZero() {
		return nil
	}
	return fault.NewHost("this repository does not know the key in use on host", x.host,
		"it is "+live.String()+", and its peers have that one; the repository may be behind, and only the key that it knows is refused",
		x.catchUp(ctx, live, "rotate --now"))
}
