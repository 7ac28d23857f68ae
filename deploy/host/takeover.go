package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/former"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// A TakeOver is a running tunnel that another program made, and the plan to bring it under
// wgkeys.
type TakeOver struct {
	From *former.Manager // nil: no known program has it
	Plan *apply.Plan     // from the running tunnel to the wanted one

	was *apply.Adopted
}

// PlanTakeOver plans to take over the tunnel that runs here. It changes nothing.
func (h *Host) PlanTakeOver(ctx context.Context, w *Wanted) (*TakeOver, error) {
	name, err := w.Tunnel()
	if err != nil {
		return nil, err
	}
	if err := h.settle(ctx, name); err != nil {
		return nil, err
	}
	r, err := former.Open(name)
	if err != nil {
		return nil, err
	}
	switch {
	case r != nil && !r.Done:
		return nil, fault.New("a take-over did not come to its end on tunnel", name, "it was interrupted",
			"wgkeys import --undo -t "+name+", then the same command again")
	case r != nil:
		return nil, fault.New("already took over tunnel", name,
			"what was put aside is in "+former.Dir(name),
			"wgkeys import --undo -t "+name+", or, when that is of no use any more, rm -r "+former.Dir(name))
	}
	t := &TakeOver{}
	if t.From, err = former.Find(ctx, name); err != nil {
		return nil, err
	}
	view, err := w.parsed()
	if err != nil {
		return nil, err
	}
	h.wanted = w
	if t.Plan, t.was, err = h.s.PlanTakeOver(ctx, view); err != nil {
		return nil, err
	}
	return t, refuseLess(t.Plan, view)
}

// refuseLess refuses a view that has less than the running tunnel: the user's own
// connection may go through it.
func refuseLess(plan *apply.Plan, view *tunnel.View) error {
	for _, s := range plan.Steps {
		less := false
		switch c := s.Change.(type) {
		case apply.AddressChange:
			less = !c.Add
		case apply.PeerChange:
			less = c.New == nil || len(c.Lost()) > 0
		case apply.DeviceChange:
			less = c.Old.ListenPort != c.New.ListenPort
		case apply.RouteChange:
			less = c.New == nil && !leadsThere(view, c.Old.Prefix)
		}
		if less {
			return fault.New("the tunnel file has less than what runs on tunnel", plan.Tunnel, "the plan has "+s.Change.String(),
				"write what runs (wgkeys import --live -n shows it), and change it with wgkeys apply afterwards")
		}
	}
	return nil
}

// leadsThere reports whether the view has a route to a prefix, or an address whose network
// contains it.
func leadsThere(view *tunnel.View, prefix netip.Prefix) bool {
	around := func(p netip.Prefix) bool { return p.Bits() <= prefix.Bits() && p.Contains(prefix.Addr()) }
	return slices.ContainsFunc(view.Routes, func(r tunnel.Route) bool { return around(r.Prefix) }) ||
		slices.ContainsFunc(view.Addresses, func(a netip.Prefix) bool { return around(view.NetworkOf(a)) })
}

// TakeOver carries out the last plan. First it adds what is wanted in addition, then the
// other program releases the tunnel, which packets do not notice, and the rest is done
// last. If it fails, everything is given back.
func (h *Host) TakeOver(ctx context.Context, t *TakeOver) error {
	r := &former.Record{Link: t.Plan.Tunnel, Was: t.was}
	if t.From != nil {
		r.Manager = t.From.Name
	}
	o := handover{h, r}
	err := o.take(ctx, t)
	if err == nil || errors.Is(err, apply.ErrIncomplete) {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if _, failed := o.giveBack(ctx); failed != nil {
		return errors.Join(err, fault.Wrap(failed, "could not give back tunnel", r.Link, "wgkeys import --undo -t "+r.Link))
	}
	return fmt.Errorf("%w; all was given back", err)
}

// A handover is a tunnel on its way from another program to wgkeys, or back. The record says how
// far it is.
type handover struct {
	h *Host
	r *former.Record
}

func (o handover) take(ctx context.Context, t *TakeOver) error {
	if err := o.r.Save(); err != nil { // first: from then on it can be undone
		return err
	}
	if err := o.h.s.TakeOver(); err != nil {
		return err
	}
	if err := o.passMarks(); err != nil {
		return err
	}
	if err := o.h.s.Take(ctx, withoutManagers(t.Plan), apply.Run, TestOnlyKernel); err != nil {
		return err
	}
	if err := o.letGo(ctx, t); err != nil {
		return err
	}
	plan, err := o.h.s.Plan(ctx, o.h.wanted.view)
	if err != nil {
		return err
	}
	if _, err = o.h.Apply(ctx, plan); err != nil {
		return err
	}
	o.r.Done = true
	return errors.Join(o.release(), o.r.Save())
}

// letGo makes the program that has the tunnel release it. What a running program removes
// has stand-ins before, until release.
func (o handover) letGo(ctx context.Context, t *TakeOver) error {
	if t.From != nil && former.Runs(t.From.Name) || tellsOne(t.Plan) {
		if err := o.hold(ctx); err != nil {
			return err
		}
		plan, err := o.h.s.Plan(ctx, o.h.wanted.view)
		if err != nil {
			return err
		}
		if err := o.h.s.Take(ctx, plan, apply.Run, TestOnlyKernel); err != nil {
			return err
		}
	}
	if t.From == nil {
		return nil
	}
	return t.From.LetGo(ctx, o.r)
}

// tellsOne reports whether a program that manages the interface has to be told: its file
// may match every interface.
func tellsOne(plan *apply.Plan) bool {
	return slices.ContainsFunc(plan.Steps, func(s apply.Step) bool {
		c, tells := s.Change.(apply.ManagerChange)
		return tells && c.Taken != ""
	})
}

// hold adds the stand-ins and waits until packets to them arrive.
func (o handover) hold(ctx context.Context) error {
	o.r.Held = true
	if err := o.r.Save(); err != nil {
		return err
	}
	if err := o.h.s.StandIn(ctx, o.r.Link, o.r.Was); err != nil {
		return fault.Wrap(err, "cannot hold the addresses and routes of tunnel", o.r.Link, "")
	}
	return nil
}

// passMarks lets packets with the mark of the other program pass, until release: its firewall
// goes after its rules, and comes back before them.
func (o handover) passMarks() error {
	if !slices.ContainsFunc(o.r.Was.Rules, func(rule apply.Rule) bool { return rule.NotMark.Value != 0 }) {
		return nil
	}
	o.r.Held = true
	if err := o.r.Save(); err != nil {
		return err
	}
	if err := linux.PassMarks(o.r.Was); err != nil {
		return fault.Wrap(err, "cannot let packets pass with the mark of tunnel", o.r.Link, "")
	}
	return nil
}

// release removes the stand-ins, where there are any.
func (o handover) release() error {
	if !o.r.Held {
		return nil
	}
	if err := errors.Join(o.h.s.EndStandIn(o.r.Link, o.r.Was), linux.EndPassMarks(o.r.Was)); err != nil {
		return fault.Wrap(err, "cannot remove the stand-ins of tunnel", o.r.Link, "")
	}
	o.r.Held = false
	return o.r.Save()
}

// withoutManagers leaves out the steps that tell network managers about the interface: one
// that manages it would remove what it has to leave alone.
func withoutManagers(plan *apply.Plan) *apply.Plan {
	p := *plan
	p.Steps = slices.DeleteFunc(slices.Clone(plan.Steps), func(s apply.Step) bool {
		_, tells := s.Change.(apply.ManagerChange)
		return tells
	})
	return &p
}

// PlanGiveBack plans to give back a tunnel that was taken over.
func (h *Host) PlanGiveBack(ctx context.Context, name string) (*former.Record, *apply.Plan, error) {
	r, err := former.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		return nil, nil, fault.New("nothing to give back of tunnel", name, "it was not taken over on this host",
			"wgkeys down -t "+name)
	}
	if err := errors.Join(participant.UnderWay(name), r.InTheWay()); err != nil {
		return nil, nil, err
	}
	plan, err := h.s.PlanGiveBack(ctx, name, r.Was)
	return r, plan, err
}

// GiveBack gives a tunnel back to the program that had it. It returns what was done with
// the interface.
func (h *Host) GiveBack(ctx context.Context, r *former.Record) (*apply.Plan, error) {
	if err := journal.RemovePending(linux.RunDir, r.Link); err != nil {
		return nil, err
	}
	plan, err := handover{h, r}.giveBack(ctx)
	if err == nil {
		h.tell(Done{})
	}
	return plan, err
}

func (o handover) giveBack(ctx context.Context) (*apply.Plan, error) {
	there := o.h.s.Has(o.r.Link)
	if there {
		if err := o.passMarks(); err != nil {
			return nil, err
		}
	}
	if err := o.r.Return(ctx, there); err != nil {
		return nil, err
	}
	if there && former.Resumes(o.r.Manager) {
		if err := o.hold(ctx); err != nil {
			return nil, err
		}
	}
	plan, err := o.h.s.PlanGiveBack(ctx, o.r.Link, o.r.Was)
	if err != nil {
		return nil, err
	}
	if err := o.h.s.Take(ctx, plan, apply.RunDown, TestOnlyKernel); err != nil {
		return nil, err
	}
	var resumed error
	if there {
		resumed = o.r.Resume(ctx)
	}
	if err := errors.Join(resumed, o.release(), kept.Forget(o.r.Link), participant.Forget(o.r.Link)); err != nil {
		return nil, err
	}
	if err := o.r.Forget(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return plan, nil
}
