// Package session is one observation of this host, and the work on it: the state of the
// kernel and the journals, which views are accepted, and which processes are left running.
package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/needs"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A Session observes this host's kernel and journals, and works on them.
type Session struct {
	*linux.Kernel
	mine    *journal.Journal
	state   *apply.State // from which the last plan was made
	damaged []error      // journals of other tunnels
	unlock  func()

	unfollowed error // why names of its peers, proxy neighbours or the table are not followed

	Old Admission // what to do with views that have replaced keys
}

// A Run takes the steps of a plan: [apply.Run] or [apply.RunDown].
type Run func(context.Context, apply.Kernel, *journal.Journal, *apply.Plan, func(apply.Step)) error

// Begin locks the host for changes. If another process holds the lock, wait is called with
// its ID, and Begin waits. A plan is valid only for the state it was made from, so the lock
// is held from the first observation to the last step.
func Begin(ctx context.Context, wait func(pid int)) (*Session, error) {
	unlock, err := journal.Lock(ctx, linux.RunDir, wait)
	if err != nil {
		return nil, err
	}
	s, err := Look()
	if err != nil {
		unlock()
		return nil, err
	}
	s.unlock = unlock
	return s, nil
}

// Yield lets other processes change tunnels while f runs. Plans that were made before do not
// count after it.
func (s *Session) Yield(ctx context.Context, f func()) error {
	s.unlock()
	s.unlock = func() {}
	f()
	unlock, err := journal.Lock(ctx, linux.RunDir, func(int) {})
	if err == nil {
		s.unlock = unlock
	}
	return err
}

// Look opens the host for plans only.
func Look() (*Session, error) {
	k, err := linux.Open()
	if err != nil {
		return nil, err
	}
	return &Session{Kernel: k, unlock: func() {}}, nil
}

// Close ends the session.
func (s *Session) Close() {
	s.Kernel.Close()
	s.unlock()
}

// Plan plans the way to view.
func (s *Session) Plan(ctx context.Context, view *tunnel.View) (*apply.Plan, error) {
	return s.plan(ctx, view, s.Old)
}

// PlanBack plans for a view that was true before. A key that was replaced since is not
// restored.
func (s *Session) PlanBack(ctx context.Context, view *tunnel.View) (*apply.Plan, error) {
	return s.plan(ctx, view, DropOld)
}

func (s *Session) plan(ctx context.Context, view *tunnel.View, how Admission) (*apply.Plan, error) {
	view, err := admit(view, how)
	if err != nil {
		return nil, err
	}
	state, others, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return nil, err
	}
	return s.make(view, state, others)
}

// make makes the plan, or refuses the view for what no step could change.
func (s *Session) make(view *tunnel.View, state *apply.State, others journal.Entries) (*apply.Plan, error) {
	plan, err := apply.Make(view, state, s.mine, others)
	if err == nil && len(plan.Steps) > 0 {
		err = journal.CheckWritable(linux.RunDir)
	}
	if err != nil {
		return nil, &apply.Refusal{Err: err}
	}
	return plan, nil
}

// PlanDown plans how to restore what was before the first apply.
func (s *Session) PlanDown(ctx context.Context, name string) (*apply.Plan, error) {
	state, others, err := s.observe(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	return apply.MakeDown(name, state, s.mine, others), nil
}

// Unrecorded reports whether the tunnel of view is up, with its key, and its journal is gone.
func Unrecorded(ctx context.Context, s *Session, view *tunnel.View) bool {
	alone := *view
	alone.Peers = nil // whose names nobody needs
	state, _, err := s.observe(ctx, view.Tunnel, &alone)
	return err == nil && len(s.mine.Entries) == 0 && state.Link != nil && state.Device.PublicKey == view.PublicKey
}

// Damaged says which journals of other tunnels could not be read completely for the last
// plan.
func (s *Session) Damaged() []error { return s.damaged }

func (s *Session) observe(ctx context.Context, name string, view *tunnel.View) (*apply.State, journal.Entries, error) {
	var err error
	if s.mine, err = journal.Open(linux.RunDir, name); err != nil {
		return nil, nil, err
	}
	var others journal.Entries
	if others, s.damaged, err = journal.Others(linux.RunDir, name); err != nil {
		return nil, nil, err
	}
	state, err := s.Observe(ctx, name, view, s.mine.Entries)
	if err != nil {
		return nil, nil, fault.Wrap(err, "cannot read the state of tunnel", name, "")
	}
	s.state = state
	return state, others, nil
}

// Take takes the steps of this session's last plan.
func (s *Session) Take(ctx context.Context, plan *apply.Plan, run Run, wrap func(apply.Kernel) apply.Kernel) error {
	if err := forgetReverted(plan.Tunnel); err != nil {
		return err
	}
	fresh := s.FreshNeeds(plan, s.mine.Entries)
	if err := run(ctx, wrap(s.Kernel), s.mine, plan, func(apply.Step) {}); err != nil {
		return err
	}
	s.Await(ctx, plan.Tunnel, plan.Steps)
	if len(s.mine.Entries) > 0 {
		needs.Remember(linux.RunDir, plan.Tunnel, fresh)
	}
	s.unfollowed = follow(ctx, plan, s.mine.Entries)
	return nil
}

// Unfollowed says why the names of the tunnel's peers, its proxy neighbours or its table are not
// followed after the last Take: the tunnel is as wanted nevertheless.
func (s *Session) Unfollowed() error { return s.unfollowed }

// Up reports whether anything of the tunnel is there.
func Up(name string) (bool, error) {
	j, err := journal.Open(linux.RunDir, name)
	return err == nil && len(j.Entries) > 0, err
}

// Settle deals with an apply that was not confirmed. If its time has come it is reverted
// here, in case both of its guards are gone; otherwise it is an error that says so.
func (s *Session) Settle(ctx context.Context, name string) error {
	p, err := journal.ReadPending(linux.RunDir, name)
	if err != nil || p == nil {
		return err
	}
	left := p.Left()
	seconds := int(left.Seconds()) + 1
	switch {
	case left > 0 && !p.Done:
		return fault.New("an apply did not get to its end on tunnel", name,
			fmt.Sprintf("it is undone in %d s", seconds), "wait for that, or undo all of it: wgkeys down -t "+name)
	case left > 0:
		return fault.New("an apply waits to be confirmed on tunnel", name,
			fmt.Sprintf("it may be somebody else's, and is reverted in %d s if nobody does", seconds), "wgkeys confirm -t "+name)
	}
	return s.Revert(ctx, name, p)
}

// Revert goes back to what was before the apply of p.
func (s *Session) Revert(ctx context.Context, name string, p *journal.Pending) error {
	run := Run(apply.Run)
	var plan *apply.Plan
	var err error
	if p.Damaged {
		if p.Before, err = kept.View(name); err != nil {
			return err
		}
	}
	if p.Before != nil {
		plan, err = s.PlanBack(ctx, p.Before)
	} else {
		run = apply.RunDown
		plan, err = s.PlanDown(ctx, name)
	}
	if err != nil {
		return err
	}
	same := func(k apply.Kernel) apply.Kernel { return k }
	if err := s.Take(ctx, plan, run, same); err != nil {
		return err
	}
	return errors.Join(journal.WriteFile(revertedPath(name), []byte(p.Token), 0o600),
		journal.RemovePending(linux.RunDir, name))
}

// Astray returns those routes of the plan's view that the kernel sends elsewhere now, and that
// the plan does not tell of.
func (s *Session) Astray(plan *apply.Plan) []string {
	return plan.Astray(s.Ways(plan.View))
}

// Lost tells of peers to which nothing is sent now, because it would go into tunnels
// without an end. A hub with many peers has few of them at endpoints.
func (s *Session) Lost(ctx context.Context, view *tunnel.View) []string {
	const many = 64
	if len(view.Peers) > many {
		return nil
	}
	state, _, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return nil // the steps are taken, and status looks again
	}
	return apply.Lost(apply.Follow(view, state), state)
}

// Live returns view with the keys that are in use, and the present endpoints of its peers:
// where they have roamed to, or what their names led to when they could still be resolved.
func (s *Session) Live(ctx context.Context, view *tunnel.View) (*tunnel.View, error) {
	state, _, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return nil, err
	}
	view = apply.Follow(view, state)
	live := *view
	live.Peers = slices.Clone(view.Peers)
	for i := range live.Peers {
		p := &live.Peers[i]
		for _, q := range state.Peers {
			if q.PublicKey == p.PublicKey && q.Endpoint.IsValid() && p.Endpoint != "" {
				p.Endpoint = q.Endpoint.String()
			}
		}
	}
	return &live, nil
}

// Hold keeps the preshared keys that the kernel has with the peers of view: plans of this
// session go back to them, even if a key file has another one by then, or is gone. The
// private key is kept when it is observed.
func (s *Session) Hold(ctx context.Context, view *tunnel.View) error {
	state, _, err := s.observe(ctx, view.Tunnel, view)
	if err != nil {
		return err
	}
	live := make(map[keyring.PublicKey]string, len(state.Peers))
	for i := range state.Peers {
		live[state.Peers[i].PublicKey] = state.Peers[i].PSK
	}
	held := map[string]string{}
	for i := range view.Peers {
		p := &view.Peers[i]
		if psk := live[p.PublicKey]; psk != "" && p.PresharedKeyFile != "" {
			held[p.PresharedKeyFile] = psk
		}
	}
	s.Kernel.Hold(held)
	return nil
}
