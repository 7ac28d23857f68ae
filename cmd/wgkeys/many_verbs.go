package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/remote"
	"wgkeys/keyring/fault"
)

var batchFlag = &cli.IntFlag{Name: "batch", Usage: "`N` hosts at once, and no more until these are confirmed",
	DefaultText: "all"}

// batchConfirm is how long the hosts of a batch wait for their confirmation, if all are
// worked on at once: until all of them are done, and were asked for their status.
const batchConfirm = time.Minute

// batchWait is the same if a batch takes several rounds: the first hosts wait for the last.
func batchWait(hosts, batch, jobs int) time.Duration {
	rounds := (min(hosts, batch) + jobs - 1) / jobs
	return batchConfirm * time.Duration(max(1, rounds))
}

// onCrew does a task on the selected hosts.
func onCrew(e *env, of func(*crew) task) error {
	c, err := newCrew(e)
	if err != nil {
		return err
	}
	return c.run(of(c), many.Work{})
}

// applyMany applies to several hosts, or shows what an apply would do there.
func applyMany(e *env, o remote.ApplyOptions) error {
	return onCrew(e, func(c *crew) task { return applying(c, o) })
}

// applyBatches applies to some hosts after others. Each undoes it by itself unless it is
// confirmed, which it is once its status is no worse than before. If the user gave no time for
// that, the batch decides.
func applyBatches(e *env, o remote.ApplyOptions, size int, given bool) error {
	c, err := newCrew(e)
	if err != nil {
		return err
	}
	if !given {
		o.Confirm = batchWait(len(c.hosts), size, c.jobs)
	}
	b := &batches{crew: c, o: o, tokens: map[string]string{}, before: map[string]*remote.HostStatus{}}
	return c.run(b.begin, many.Work{Batch: size, StopAfter: 1, Settle: b.settle})
}

// applying is an apply to one of the hosts, or the plan of it.
func applying(c *crew, o remote.ApplyOptions) task {
	return func(ctx context.Context, hosts *remote.Hosts, host string) error {
		v, err := c.views.Of(c.tunnel, host)
		if err != nil {
			return err
		}
		return hosts.Apply(ctx, c.tunnel, v, o)
	}
}

// downMany makes several hosts undo their apply.
func downMany(e *env, dry bool) error {
	return onCrew(e, func(c *crew) task {
		return func(ctx context.Context, hosts *remote.Hosts, host string) error {
			return hosts.Down(ctx, c.tunnel, host, ownKeys(c.repo, host, c.tunnel), dry)
		}
	})
}

// confirmMany confirms what waits on several hosts.
func confirmMany(e *env) error {
	return onCrew(e, func(c *crew) task {
		return func(ctx context.Context, hosts *remote.Hosts, host string) error {
			return hosts.ConfirmAny(ctx, c.tunnel, host, ownKeys(c.repo, host, c.tunnel))
		}
	})
}

// batches apply to some hosts after others.
type batches struct {
	*crew
	o remote.ApplyOptions

	mu     sync.Mutex
	tokens map[string]string             // of the hosts that wait to be confirmed
	before map[string]*remote.HostStatus // the status of each
}

// begin applies to a host, which then waits to be confirmed.
func (b *batches) begin(ctx context.Context, hosts *remote.Hosts, host string) error {
	before, err := b.look(ctx, []string{host})
	if err == nil {
		err = before[0].Err // nor would it be known whether it is well afterwards
	}
	if err != nil {
		return err
	}
	v, err := b.views.Of(b.tunnel, host)
	if err != nil {
		return err
	}
	token, err := hosts.Begin(ctx, b.tunnel, v, b.o)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[host], b.before[host] = token, before[0]
	return err
}

func (b *batches) look(ctx context.Context, hosts []string) ([]*remote.HostStatus, error) {
	all, err := remote.NewStatuses(b.repo, b.tunnel.Name, hosts)
	if err != nil {
		return nil, err
	}
	q := remote.Survey{Hosts: b.e.hosts, Repo: b.repo, Jobs: b.jobs}
	q.Look(ctx, all)
	return all, nil
}

// statusOn is the status of a host; they are not in the order of the command line.
func statusOn(all []*remote.HostStatus, host string) *remote.HostStatus {
	return all[slices.IndexFunc(all, func(s *remote.HostStatus) bool { return s.Host == host })]
}

// settle confirms the hosts whose status is no worse than before.
func (b *batches) settle(hosts []string) map[string]error {
	ctx := context.WithoutCancel(b.e.ctx)
	for _, h := range hosts {
		b.live.At(h, "is it well?")
	}
	after, err := b.look(ctx, hosts)
	errs := make([]error, len(hosts)) // each has its own index: they are confirmed at once
	var group errgroup.Group
	group.SetLimit(b.jobs)
	for i, h := range hosts {
		if err != nil {
			errs[i] = err
			continue
		}
		if worse := statusOn(after, h).Worse(b.before[h]); len(worse) > 0 {
			errs[i] = b.worsened(h, worse)
			continue
		}
		if token := b.tokens[h]; token != "" {
			group.Go(func() error {
				errs[i] = b.e.hosts.Confirm(ctx, b.tunnel, h, token, b.o.Confirm)
				return nil
			})
		}
	}
	group.Wait()
	wrong := map[string]error{}
	for i, h := range hosts {
		wrong[h] = errs[i]
	}
	return wrong
}

func (b *batches) worsened(host string, worse []string) error {
	hint := b.tunnel.Commands.Run("status", host)
	if b.tokens[host] != "" {
		hint = fmt.Sprintf("it undoes the apply by itself within %v; then: %s", b.o.Confirm,
			b.tunnel.Commands.Run("plan", host))
	}
	return fault.NewHost("the tunnel is worse after the apply on host", host, strings.Join(worse, "; "), hint)
}
