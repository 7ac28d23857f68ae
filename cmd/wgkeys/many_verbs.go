package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/remote"
)

var batchFlag = &cli.IntFlag{Name: "batch", Usage: "`N` hosts at once, and no more until these are confirmed",
	DefaultText: "all"}

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

// applyBatches applies to some hosts after others. If the user gave no time for their confirmation,
// the size of a batch decides.
func applyBatches(e *env, o remote.ApplyOptions, size int, given bool) error {
	c, err := newCrew(e)
	if err != nil {
		return err
	}
	if !given {
		o.Confirm = remote.BatchWait(len(c.hosts), size, c.jobs)
	}
	b := &remote.Batches{Hosts: e.hosts, Repo: c.repo, Views: c.views, Tunnel: c.tunnel, Jobs: c.jobs, Apply: o,
		Asks: func(host string) { c.live.At(host, "is it well?") }}
	settle := func(hosts []string) map[string]error { return b.Settle(context.WithoutCancel(e.ctx), hosts) }
	return c.run(b.Begin, many.Work{Batch: size, StopAfter: 1, Settle: settle})
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
