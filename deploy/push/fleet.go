package push

import (
	"context"

	"golang.org/x/sync/errgroup"

	"wgkeys/deploy/ssh"
)

// DefaultJobs is how many hosts are served at once if nothing else is asked
// for.
const DefaultJobs = 8

// A Target is a host and the files it should have.
type Target struct {
	Host   string
	Runner ssh.Runner
	Files  []File
}

// An Outcome is what became of a Target.
type Outcome struct {
	Host    string
	Results []Result
	Err     error
}

// All serves every target, at most jobs of them at once (0: [DefaultJobs]). A
// host that fails stops no other. The outcomes are in the order of the targets;
// report, if not nil, hears of each one as it comes, one at a time.
func All(ctx context.Context, targets []Target, jobs int, dryRun bool, report func(Outcome)) []Outcome {
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	type numbered struct {
		i int
		Outcome
	}
	arrived := make(chan numbered)
	var group errgroup.Group
	group.SetLimit(jobs)
	go func() {
		for i, t := range targets {
			group.Go(func() error {
				results, err := Host(ctx, t.Runner, t.Host, t.Files, dryRun)
				arrived <- numbered{i, Outcome{t.Host, results, err}}
				return nil
			})
		}
		group.Wait()
		close(arrived)
	}()
	outcomes := make([]Outcome, len(targets))
	for o := range arrived {
		outcomes[o.i] = o.Outcome
		if report != nil {
			report(o.Outcome)
		}
	}
	return outcomes
}
