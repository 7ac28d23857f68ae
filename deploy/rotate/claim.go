package rotate

import (
	"context"
	"crypto/rand"
	"time"
)

// claimFor is for how long a controller has a host to itself: from the moment
// before it arms the first watcher until the switch begins, which lasts as long as
// it takes to reach the slowest peer. It is renewed, so that a controller that was
// lost is waited for no longer than this.
const claimFor = 20 * time.Second

// claim has the host refuse every other run until keep is called, and claimFor
// after that. Two controllers with the same next key, in two clones of the
// repository, would else end each other's watchers, and one of them would switch
// with nobody there to follow.
func (r *Rotation) claim(ctx context.Context) (keep func(), err error) {
	r.run = rand.Text()
	if err := r.claimWithin(ctx, claimFor); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(claimFor / 4)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				r.claimWithin(ctx, claimFor) // the switch tells whether it was in vain
			}
		}
	}()
	return func() { close(done) }, nil
}

// unclaim gives the host back. One that cannot be reached is free a little later.
func (r *Rotation) unclaim(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r.claimWithin(ctx, 0)
}

func (r *Rotation) claimWithin(ctx context.Context, within time.Duration) error {
	_, err := r.Host.ask(ctx, Request{Do: DoClaim, Tunnel: r.Tunnel, Run: r.run, Within: within})
	return err
}
