package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/host"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// Run asks the hosts, some at once, and tells what they say as it comes. What
// only several of them together tell is told after it.
func (q *Survey) Run(ctx context.Context, all []*HostStatus) {
	g := gathering{all: all, tell: q.Tell, waits: q.Waits}
	g.gather(q.Jobs, func(s *HostStatus) {
		if s.Err = q.read(ctx, s); s.Err != nil {
			s.Error = s.Err.Error()
		}
	})
	q.judgeDead(ctx, all)
	q.findLosses(ctx, all)
	for _, s := range all {
		q.Tell(s)
	}
}

// read compares repository, host and kernel.
func (q *Survey) read(ctx context.Context, s *HostStatus) error {
	t, r := s.tunnel, q.Repo
	v, err := r.View(t, s.Host)
	if err != nil {
		return err
	}
	s.Key, s.Next, s.About = v.PublicKey, v.NextPublicKey, v.Description
	meta, err := r.Vault.Meta(s.Host, vault.KeyFile(t.Name))
	switch {
	case err == nil:
		s.Created, s.Due = meta.Created, r.TooOld(meta, time.Now())
	case errors.Is(err, vault.ErrNoMeta):
		s.Notes = append(s.Notes, "not known how old its key is, for wgkeys did not make the vault file: wgkeys rekey "+s.Host)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	participant, err := q.Hosts.Participant(t, s.Host)
	if err != nil {
		return err
	}
	a, err := participant.Look(ctx, t.Name)
	if err != nil {
		return err
	}
	s.File, s.Live = a.File.PublicKey, a.Live.PublicKey
	if a.Record != nil && !a.Record.Over() {
		s.Rotation = string(a.Record.Phase)
	}
	s.view, s.answer = v, a
	look := func() (rotate.Answer, error) { return participant.Look(ctx, t.Name) }
	if err := s.findDead(ctx, look); err != nil {
		return err
	}
	s.addPeers(v, s.answer)
	if !s.Live.IsZero() && s.Rotation == "" {
		if plan, err := q.drift(ctx, t, v); err == nil {
			s.Drift, s.Findings = len(plan.Steps), plan.Findings
		} else { // what is known already is told all the same
			s.Findings = append(s.Findings, inOneLine(err))
		}
	}
	s.findUnresolved()
	s.noteOldKeys(ctx, time.Now())
	s.judge(ctx)
	return nil
}

// drift is what apply would do on a host, and what it could not mend there.
func (q *Survey) drift(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View) (plan Planned, err error) {
	if q.Hosts.IsLocal(t, v.Host) && os.Geteuid() == 0 {
		made, err := host.Status(ctx, v)
		if refused := RefusedBy(err); refused != "" {
			return Planned{Findings: []string{refused}}, nil
		}
		if err != nil {
			return plan, err
		}
		return PlanJSON(made), nil
	}
	var view, said bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return plan, err
	}
	err = q.Hosts.Runner(t, v.Host).Run(ctx, asRoot+" plan --view - --json", &view, &bounded{w: &said, left: maxAnswer})
	if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) && exit.Code == ui.ExitFindings {
		err = nil
	}
	if refused, ok := refusedThere(&said); ok {
		return refused, nil
	}
	if err != nil {
		hint := q.Hosts.upgradeHint(ctx, t, v.Host, err)
		if hint == "" {
			hint = "wgkeys plan " + v.Host
		}
		return plan, fault.WrapHost(err, "cannot plan on host", v.Host, hint)
	}
	if err := json.Unmarshal(said.Bytes(), &plan); err != nil {
		return plan, fault.NewHost("cannot understand the plan of host", v.Host, "its wgkeys may be another version", "wgkeys plan "+v.Host)
	}
	return plan, nil
}
