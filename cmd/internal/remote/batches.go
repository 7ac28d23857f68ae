package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// batchConfirm is how long the hosts of a batch wait for their confirmation, if all are
// worked on at once: until all of them are done, and were asked for their status.
const batchConfirm = time.Minute

// BatchWait is the same if a batch takes several rounds: the first hosts wait for the last.
func BatchWait(hosts, batch, jobs int) time.Duration {
	rounds := (min(hosts, batch) + jobs - 1) / jobs
	return batchConfirm * time.Duration(max(1, rounds))
}

// Batches apply to some hosts after others. Each host undoes it by itself unless it is confirmed,
// which it is once its status is no worse than before.
type Batches struct {
	Hosts  *Hosts
	Repo   *repo.Repo
	Views  *repo.AllViews
	Tunnel *tunnel.Tunnel
	Jobs   int
	Apply  ApplyOptions
	Asks   func(host string) // called before a host is asked whether it is well

	mu     sync.Mutex
	tokens map[string]string      // of the hosts that wait to be confirmed
	before map[string]*HostStatus // the status of each
}

// Begin applies to a host, which then waits to be confirmed. Its output is that of hosts.
func (b *Batches) Begin(ctx context.Context, hosts *Hosts, host string) error {
	before, err := b.look(ctx, []string{host})
	if err == nil {
		err = before[0].Err // nor would it be known whether it is well afterwards
	}
	if err != nil {
		return err
	}
	v, err := b.Views.Of(b.Tunnel, host)
	if err != nil {
		return err
	}
	token, err := hosts.begin(ctx, b.Tunnel, v, b.Apply)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens == nil {
		b.tokens, b.before = map[string]string{}, map[string]*HostStatus{}
	}
	b.tokens[host], b.before[host] = token, before[0]
	return err
}

func (b *Batches) look(ctx context.Context, hosts []string) ([]*HostStatus, error) {
	all, err := NewStatuses(b.Repo, b.Tunnel.Name, hosts)
	if err != nil {
		return nil, err
	}
	q := Survey{Hosts: b.Hosts, Repo: b.Repo, Jobs: b.Jobs}
	q.look(ctx, all)
	return all, nil
}

// statusOn is the status of a host; they are not in the order of the command line.
func statusOn(all []*HostStatus, host string) *HostStatus {
	return all[slices.IndexFunc(all, func(s *HostStatus) bool { return s.Host == host })]
}

// Settle confirms the hosts whose status is no worse than before, and returns the error of each of the
// others. All of them have begun.
func (b *Batches) Settle(ctx context.Context, hosts []string) map[string]error {
	for _, h := range hosts {
		b.Asks(h)
	}
	after, err := b.look(ctx, hosts)
	errs := make([]error, len(hosts)) // each has its own index: they are confirmed at once
	var group errgroup.Group
	group.SetLimit(b.Jobs)
	for i, h := range hosts {
		if err != nil {
			errs[i] = err
			continue
		}
		if worse := statusOn(after, h).worse(b.before[h]); len(worse) > 0 {
			errs[i] = b.worsened(h, worse)
			continue
		}
		if token := b.tokens[h]; token != "" {
			group.Go(func() error {
				errs[i] = b.Hosts.confirm(ctx, b.Tunnel, h, token, b.Apply.Confirm)
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

func (b *Batches) worsened(host string, worse []string) error {
	hint := b.Tunnel.Commands.Run("status", host)
	if b.tokens[host] != "" {
		hint = fmt.Sprintf("it undoes the apply by itself within %v; then: %s", b.Apply.Confirm,
			b.Tunnel.Commands.Run("plan", host))
	}
	return fault.NewHost("the tunnel is worse after the apply on host", host, strings.Join(worse, "; "), hint)
}
