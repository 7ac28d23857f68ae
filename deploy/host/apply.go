package host

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/boot"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// Plan plans what is wanted. If the host was opened only to look, an earlier apply that
// waits to be confirmed, or a rotation, becomes a note; otherwise it is an error, or it is
// undone if its time has come.
func (h *Host) Plan(ctx context.Context, w *Wanted) (*apply.Plan, error) {
	name, err := w.Tunnel()
	if err != nil {
		return nil, err
	}
	if err := h.settle(ctx, name); err != nil {
		return nil, err
	}
	if err := h.s.Ask(name); err != nil {
		return nil, err
	}
	h.wanted = w
	var plan *apply.Plan
	if w.view != nil {
		plan, err = h.s.Plan(ctx, w.view)
	} else {
		plan, w.reading, err = h.s.PlanText(ctx, name, w.text)
	}
	if err != nil {
		return nil, err
	}
	if w.view == nil {
		w.view = w.reading.View
	}
	if h.lookOnly {
		findBoot(plan, w.text)
	}
	return plan, nil
}

// findBoot tells of a tunnel that is up, and that the next boot would not bring up for want of a
// view. A plan has no step for that: every apply keeps its view.
func findBoot(plan *apply.Plan, wanted []byte) {
	up, err := session.Up(plan.Tunnel)
	if err != nil || !up || wanted != nil && files.Holds(kept.Path(plan.Tunnel), string(wanted)) {
		return
	}
	if p, err := journal.ReadPending(linux.RunDir, plan.Tunnel); err != nil || p != nil {
		return // what is confirmed is kept
	}
	why := ""
	switch v, err := kept.View(plan.Tunnel); {
	case err != nil:
		why = strings.Join(fault.Lines(err), "; ")
	case v == nil:
		why = kept.Path(plan.Tunnel) + " is not there"
	default:
		return
	}
	plan.Findings = append(plan.Findings, "the tunnel will not come up at boot: "+why+"; an apply writes it again")
}

// Damaged says which journals of other tunnels could not be read completely for the plan.
func (h *Host) Damaged() []error { return h.s.Damaged() }

// settle deals with an earlier apply that waits to be confirmed; if the host was opened
// only to look, it adds a note.
func (h *Host) settle(ctx context.Context, name string) error {
	if busy := participant.UnderWay(name); busy != nil {
		if !h.lookOnly {
			return busy
		}
		h.tell(Note(busy.Error()))
	}
	if !h.lookOnly {
		if err := leaveToGuards(ctx, h.s, name); err != nil {
			return err
		}
		return h.s.Settle(ctx, name)
	}
	p, err := journal.ReadPending(linux.RunDir, name)
	switch {
	case err != nil || p == nil:
		return err
	case p.Left() > 0:
		h.tell(Note(fmt.Sprintf("an apply waits to be confirmed, and is undone in %d s", int(p.Left().Seconds())+1)))
	default:
		h.tell(Note("an apply was not confirmed in time, and nobody has undone it yet; wgkeys apply and wgkeys down do"))
	}
	return nil
}

// Apply takes the steps of the last plan. If the options say so and there is a step, it
// waits to be confirmed: then it is undone unless [Confirm] comes.
func (h *Host) Apply(ctx context.Context, plan *apply.Plan) (waits bool, err error) {
	w := h.wanted
	if plan.View != nil && plan.View != w.view {
		w = View(plan.View) // with the keys in use, in the middle of a rotation
	}
	if h.o.Confirm > 0 && len(plan.Steps) > 0 {
		return true, h.applyGuarded(ctx, w.view, plan)
	}
	if err := h.s.Take(ctx, plan, apply.Run, TestOnlyKernel); err != nil {
		return false, err
	}
	h.warnMissing(plan)
	if w.reading != nil {
		h.s.Remember(plan, w.reading) // otherwise the next plan takes longer
	}
	if err := h.noteReplaced(w, plan); err != nil {
		return false, err
	}
	if err := keep(plan.Tunnel, w, h.warn); err != nil {
		return false, err
	}
	h.tellAstray(ctx, plan)
	h.tell(Done{})
	return false, nil
}

// applyGuarded starts the guards before the first step: from then on the host undoes the
// apply by itself if anything goes wrong, in this process, too.
func (h *Host) applyGuarded(ctx context.Context, v *tunnel.View, plan *apply.Plan) error {
	before, err := h.before(ctx, v.Tunnel)
	if err != nil {
		return err
	}
	token := cmp.Or(h.o.Token, rand.Text()) // the guards tell this apply from others by it
	p := &journal.Pending{Token: token, Before: before, After: v, Deadline: journal.Uptime() + h.o.Confirm}
	if err := p.Write(linux.RunDir, v.Tunnel); err != nil {
		return err
	}
	err = startGuards(ctx, v.Tunnel, token)
	if err == nil {
		p.Guarded = true
		err = p.Write(linux.RunDir, v.Tunnel)
	}
	if err == nil {
		err = h.s.Take(ctx, plan, apply.Run, TestOnlyKernel)
	}
	if errors.Is(err, apply.ErrIncomplete) {
		return err // the guards try again when the time has come: the caller may be locked out
	}
	if err != nil {
		journal.RemovePending(linux.RunDir, v.Tunnel)
		return err
	}
	if h.o.Old == session.AllowOld {
		if err := kept.AllowReplaced(v); err != nil {
			return err
		}
	}
	h.warnMissing(plan)
	p.Deadline, p.Done = journal.Uptime()+h.o.Confirm, true
	if err := p.Write(linux.RunDir, v.Tunnel); err != nil {
		return err
	}
	h.tellAstray(ctx, plan)
	h.tell(Done{})
	return nil
}

// warnMissing warns of what the tunnel lacks, and of what prevents following its peers'
// names: it is up nevertheless.
func (h *Host) warnMissing(plan *apply.Plan) {
	for _, err := range plan.Missing {
		h.warn(err)
	}
	h.warn(h.s.Unfollowed())
}

// before is what to go back to: the last view that was applied, with the present endpoints,
// or nil if the tunnel is not up.
func (h *Host) before(ctx context.Context, name string) (*tunnel.View, error) {
	up, err := session.Up(name)
	if err != nil || !up {
		return nil, err
	}
	const nothing = "nothing to go back to for tunnel"
	hint := "wgkeys apply --confirm 0 -t " + name
	switch last, err := kept.View(name); {
	case errors.Is(err, kept.ErrUnreadable):
		return nil, fault.Wrap(err, nothing, name, hint)
	case err != nil:
		return nil, err
	case last == nil:
		return nil, fault.New(nothing, name, "it is up, but "+kept.Path(name)+" is not there", hint)
	default:
		return h.s.Live(ctx, last)
	}
}

// noteReplaced records the keys that an apply has replaced, and forgets those that the user
// has allowed again.
func (h *Host) noteReplaced(w *Wanted, plan *apply.Plan) error {
	if h.o.Old == session.AllowOld {
		if err := kept.AllowReplaced(w.view); err != nil {
			return err
		}
	}
	if w.view == nil || !session.Replaces(plan) {
		return nil
	}
	return kept.NoteReplaced(w.view)
}

// tellAstray asks the kernel, after the steps, where it sends the packets that belong into
// the tunnel, and the encrypted ones, and reports routes that compete.
func (h *Host) tellAstray(ctx context.Context, plan *apply.Plan) {
	if len(plan.Steps) == 0 || plan.View == nil {
		return
	}
	for _, found := range h.s.Astray(plan) {
		h.tell(Finding(found))
	}
	for _, found := range h.s.Lost(ctx, plan.View) {
		h.tell(Finding(found))
	}
}

// tellMissing tells once that systemd does not bring the tunnel up: when it is new, or needs
// another unit than before. Whoever leaves it at that has heard of it.
func tellMissing(name string, v *tunnel.View, warn func(error)) {
	missing := boot.Missing(v)
	if missing == nil {
		return
	}
	if was, err := kept.View(name); err == nil && was != nil && slices.Equal(boot.Missing(was), missing) {
		return
	}
	warn(fault.New("the tunnel is up, but systemd will not bring up all of it at boot:", name,
		"not enabled: "+strings.Join(missing, ", "), "wgkeys install"))
}

// keep stores a view for the next boot: its text as it came, since encoding ten thousand
// peers takes longer than comparing them. The tunnel is up by now, and a folder that cannot
// be written is no reason to take it down.
func keep(name string, w *Wanted, warn func(error)) error {
	text := w.text
	if text == nil {
		var b bytes.Buffer
		if err := tunnel.EncodeView(&b, w.view); err != nil {
			return err
		}
		text = b.Bytes()
	}
	tellMissing(name, w.view, warn)
	path, err := kept.Keep(name, text)
	what := "the tunnel is up, but will not come up at boot:"
	if kept.Lasts(name) { // an older one
		what = "the tunnel is up, but at boot it will come up as before this apply:"
	}
	switch {
	case err == nil:
	case path == "":
		warn(fault.Wrap(err, what, name, "df /etc /var /run, then wgkeys apply"))
	case filepath.Dir(path) == linux.RunDir:
		warn(fault.Wrap(err, what, name, "mount -o remount,rw / (or /var), then wgkeys apply"))
	default:
		warn(fault.WrapFile(err, "for the next boot the view is not in "+kept.Dir+" but in", path, ""))
	}
	return nil
}
