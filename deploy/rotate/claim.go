package rotate

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"wgkeys/keyring/fault"
)

// claimFor is how long a controller has a host to itself: from the moment before it arms
// the first watcher until the switch begins, which takes as long as reaching the slowest
// peer. It is renewed, so that nobody waits longer than this for a controller that was
// lost. Our own connections to many peers, for instance through one bastion, may crowd the
// way to the host: see reach.
const claimFor = 20 * time.Second

// reach is the time that it may take to reach some of the peers, a few at once, beyond what
// is planned for the first ones. To look at all of them has taken a while; to start a
// watcher on each may take four times that, so that no bastion is too slow.
func (r *Rotation) reach() time.Duration {
	planned := time.Duration(len(r.Peers)/max(1, r.Jobs)) * 5 * time.Second
	return min(max(planned, 4*r.looked-claimFor), 30*time.Minute)
}

// claim makes the host refuse every other run until keep is called, and for claimFor after
// that. Two controllers with the same next key, in two clones of the repository, would
// otherwise end each other's watchers, and one of them would switch without anyone to
// follow. Another run may have come and gone since the survey: then its results are
// outdated.
func (r *Rotation) claim(ctx context.Context, s *Survey) (keep func(), err error) {
	r.run = rand.Text()
	within := claimFor + r.reach()
	a, err := r.claimWithin(ctx, within)
	if err == nil && a.Live.PublicKey != s.Live() {
		err = fault.NewHost("the key was replaced by somebody else meanwhile, on host", r.Host.Host,
			"nothing was changed by this run",
			"git pull, then "+r.Commands.Run("rotate", r.Host.Host))
	}
	if err != nil {
		r.unclaim(context.WithoutCancel(ctx)) // perhaps only the answer was lost
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(within / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.claimWithin(ctx, within) // the switch reports whether it failed
			}
		}
	})
	return func() { stop(); group.Wait() }, nil
}

// unclaim releases the host. A host that cannot be reached is free a little later.
func (r *Rotation) unclaim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := r.claimWithin(ctx, 0)
	return err
}

func (r *Rotation) claimWithin(ctx context.Context, within time.Duration) (Answer, error) {
	return r.Host.ask(ctx, Request{Do: DoClaim, Tunnel: r.Tunnel, KeyFile: r.Host.KeyFile, Run: r.run, Within: within})
}
