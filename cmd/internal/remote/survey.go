package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// Run asks the hosts, some at once, and then finds what only several answers together show.
func (q *Survey) Run(ctx context.Context, all []*HostStatus) {
	q.views = &repo.AllViews{Repo: q.Repo}
	before := map[farEnd]*HostStatus{}
	for _, s := range q.Before {
		before[farEnd{s.Tunnel, s.Host}] = s
	}
	for _, s := range all {
		if b := before[farEnd{s.Tunnel, s.Host}]; b != nil {
			s.doubts = b.doubts // hosts that do not answer stay in this list
		}
	}
	g := gathering{all: q.connections(all), step: q.Step, waits: q.Waits}
	g.gather(q.Jobs, func(host []*HostStatus) { q.readHost(ctx, host) })
	if q.Follow {
		for _, s := range all {
			s.tellDead()
		}
		return
	}
	q.judgeDead(ctx, all)
	q.findLosses(ctx, all)
}

// connections groups the tunnels that are asked over one connection.
func (q *Survey) connections(all []*HostStatus) (hosts [][]*HostStatus) {
	type way struct {
		host, dest string
		local      bool
	}
	at := map[way]int{}
	for _, s := range all {
		dest, _ := s.tunnel.SSH(s.Host)
		w := way{s.Host, dest, q.Hosts.IsLocal(s.tunnel, s.Host)}
		i, known := at[w]
		if !known {
			i, at[w] = len(hosts), len(hosts)
			hosts = append(hosts, nil)
		}
		hosts[i] = append(hosts[i], s)
	}
	return hosts
}

// readHost compares repository, host and kernel, for all tunnels of a host.
func (q *Survey) readHost(ctx context.Context, host []*HostStatus) {
	var asked []*HostStatus
	var looks []rotate.Look
	for _, s := range host {
		look, err := q.prepare(s)
		if s.fail(err); err == nil {
			asked, looks = append(asked, s), append(looks, look)
		}
	}
	if asked == nil {
		return
	}
	participant, err := q.Hosts.Participant(asked[0].tunnel, asked[0].Host)
	if err != nil { // prepare has set the error
		return
	}
	answers, errs := participant.LookAndPlan(ctx, looks)
	var group errgroup.Group
	for i, s := range asked {
		group.Go(func() error {
			if s.fail(errs[i]); errs[i] == nil {
				s.fail(q.read(ctx, s, answers[i]))
			}
			return nil
		})
	}
	group.Wait()
}

// fail records why nothing is known about a host, if err is not nil.
func (s *HostStatus) fail(err error) {
	if err != nil {
		s.Err, s.Error = err, err.Error()
	}
}

// prepare reads what the repository has, and returns what to ask the host.
func (q *Survey) prepare(s *HostStatus) (rotate.Look, error) {
	t, r := s.tunnel, q.Repo
	v, err := q.views.Of(t, s.Host)
	if err != nil {
		return rotate.Look{}, err
	}
	s.Key, s.Next, s.About, s.view = v.PublicKey, v.NextPublicKey, v.Description, v
	meta, err := r.Vault.Meta(s.Host, vault.KeyFile(t.Name))
	switch {
	case err == nil:
		s.Created, s.Due = meta.Created, r.TooOld(meta, time.Now())
	case errors.Is(err, vault.ErrNoMeta):
		s.Notes = append(s.Notes,
			"not known how old its key is, since wgkeys did not make the vault file: wgkeys rekey "+s.Host)
	case !errors.Is(err, fs.ErrNotExist):
		return rotate.Look{}, err
	}
	participant, err := q.Hosts.Participant(t, s.Host)
	if err != nil {
		return rotate.Look{}, err
	}
	var text bytes.Buffer
	err = tunnel.EncodeView(&text, v)
	return rotate.Look{Tunnel: t.Name, KeyFile: participant.KeyFile, View: text.Bytes()}, err
}

// lookAgain asks again if there is a doubt.
func (q *Survey) lookAgain(ctx context.Context, s *HostStatus) error {
	participant, err := q.Hosts.Participant(s.tunnel, s.Host)
	if err != nil {
		return err
	}
	return s.findDead(ctx, func() (rotate.Answer, error) { return participant.Look(ctx, s.Tunnel) })
}

// read compares the repository with the host's answer.
func (q *Survey) read(ctx context.Context, s *HostStatus, a rotate.Answer) error {
	s.File, s.Live, s.Version = a.File.PublicKey, a.Live.PublicKey, a.Version
	if a.Record != nil && !a.Record.Over() {
		s.Rotation = string(a.Record.Phase)
	}
	s.answer = a
	if q.Follow {
		s.keepDoubts(s.doubts, time.Now())
	} else if err := q.lookAgain(ctx, s); err != nil {
		return err
	}
	s.addPeers(s.view, s.answer)
	if a.Settled() {
		q.findDrift(ctx, s, a.Planned)
	}
	s.findUnresolved()
	s.noteOldKeys(ctx, time.Now())
	s.judge(ctx)
	return nil
}

// findDrift finds out what apply would do on a host, and what it could not repair there. An
// older wgkeys does not include that in its answer, nor does any for a very long view: then
// the host is asked separately, as is one that does not know a key which it can do without.
func (q *Survey) findDrift(ctx context.Context, s *HostStatus, p *rotate.Planned) {
	var err error
	if p == nil || tunnel.OnlyDiagnosis(unknownKey(p)) {
		p, err = q.Hosts.planned(ctx, s.tunnel, s.view)
	} else if p.Failed != "" {
		err = q.Hosts.cannotPlan(s, p)
	}
	if err != nil { // what is known already is reported all the same
		s.Findings = append(s.Findings, fault.OneLine(err))
		return
	}
	if p.Refused != "" {
		s.Findings = append(s.Findings, ofTunnel(s.tunnel, p.Refused))
		return
	}
	s.Drift = &p.Steps
	for _, f := range p.Findings {
		s.Findings = append(s.Findings, ofTunnel(s.tunnel, f))
	}
}

// cannotPlan is the error of a host that cannot make a plan, perhaps because it has another
// version.
func (h *Hosts) cannotPlan(s *HostStatus, p *rotate.Planned) error {
	hint := upgradeOn(s.Host)
	if unknownKey(p) == "" {
		hint = cmp.Or(h.upgradeIfOther(s.Host, s.Version), s.tunnel.Commands.Run("plan", s.Host))
	}
	return fault.NewHost("cannot plan on host", s.Host, p.Failed, hint)
}

// unknownKey is the key of a view that a host does not know, if it has no plan for that; otherwise
// "". An older host only says it in its error.
func unknownKey(p *rotate.Planned) string { return cmp.Or(p.Unknown, tunnel.UnknownKey(p.Failed)) }

// planned asks a host what apply would do with a view there.
func (h *Hosts) planned(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View) (*rotate.Planned, error) {
	r := h.Runner(t, v.Host)
	said, err := planText(ctx, r, v)
	exit := (*ssh.ExitError)(nil)
	if errors.As(err, &exit) && tunnel.OnlyDiagnosis(tunnel.UnknownKey(exit.Stderr)) {
		said, err = planText(ctx, r, v.WithoutDiagnosis())
	}
	if errors.As(err, &exit) && exit.Code == ui.ExitFindings {
		err = nil
	}
	var plan Planned
	unclear := json.Unmarshal(afterGreeting(said), &plan)
	if unclear == nil && plan.Refused != "" {
		return &rotate.Planned{Refused: plan.Refused}, nil
	}
	if err != nil {
		hint := h.upgradeHint(ctx, t, v.Host, err)
		if hint == "" {
			hint = t.Commands.Run("plan", v.Host)
		}
		return nil, fault.WrapHost(err, "cannot plan on host", v.Host, hint)
	}
	if unclear != nil {
		return nil, fault.NewHost("cannot understand the plan of host", v.Host, "its wgkeys may be another version",
			t.Commands.Run("plan", v.Host))
	}
	return &rotate.Planned{Steps: len(plan.Steps), Findings: plan.Findings}, nil
}

// planText returns what a host answers to that question.
func planText(ctx context.Context, r ssh.Runner, v *tunnel.View) ([]byte, error) {
	var view, said bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return nil, err
	}
	err := r.Run(ctx, asRoot+" plan --view - --json", &view, &bounded{w: &said, left: maxAnswer})
	return said.Bytes(), err
}
