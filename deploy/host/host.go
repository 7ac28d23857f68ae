// Package host is wgkeys on this host, without a command line: what apply would do,
// apply, confirm, down. It prints nothing and asks nobody; what there is to tell on the
// way goes to [Options.Report].
//
//	h, err := host.Begin(ctx, host.Options{})   // locks the host for changes
//	plan, err := h.Plan(ctx, host.View(view))   // what is to be done, to be shown
//	waits, err := h.Apply(ctx, plan)            // do it
//	h.Close()
//
// [Host.PlanTakeOver] and [Host.TakeOver] bring a tunnel that another program made under
// wgkeys, and [Host.GiveBack] gives it back.
//
// A tunnel that was taken down leaves nothing. Some processes outlive a command; they run
// this program's binary, so its main begins with
//
//	daemon.Main(host.Processes()...)
package host

import (
	"context"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/names"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
)

// Processes are all that a program which works on this host may be run again as.
func Processes() []daemon.Process {
	return []daemon.Process{device.Process, guardProcess, names.Process, participant.Process}
}

// Options say how to work on this host. The zero value refuses views that are older than
// the host's state, and needs no confirmation.
type Options struct {
	Old     Admission     // what to do with views that have replaced keys
	Confirm time.Duration // an apply is undone after this time, unless Confirm comes; 0: it stays
	Token   string        // identifies the apply that waits to be confirmed; "": any
	Report  func(Event)   // called with events; may be nil
}

// An Admission says what to do with a view that has replaced keys.
type Admission = session.Admission

const (
	RefuseOld = session.RefuseOld // it is refused
	AllowOld  = session.AllowOld  // it is accepted, except for stolen keys
	DropOld   = session.DropOld   // their peers get a key that nobody has, so that the rest comes up
)

// An Event is something to report during the work: [Waiting], [Note], [Finding], [Warning]
// or [Done].
type Event interface{ event() }

// Waiting: another process is changing a tunnel on this host, and this one waits for it.
type Waiting struct{ PID int }

// A Note is information; nothing is wrong.
type Note string

// A Finding is a problem that no step can solve.
type Finding string

// A Warning is a failure although the tunnel is as wanted.
type Warning struct{ Err error }

// Done: all steps were taken.
type Done struct{}

func (Waiting) event() {}
func (Note) event()    {}
func (Finding) event() {}
func (Warning) event() {}
func (Done) event()    {}

// A Host is this host, locked for changes or opened to look. It is for one goroutine, and
// one plan.
type Host struct {
	s        *session.Session
	o        Options
	lookOnly bool
	wanted   *Wanted // of the last plan
}

// Begin locks the host for changes, and waits for a process that is changing it.
func Begin(ctx context.Context, o Options) (*Host, error) {
	h := &Host{o: o}
	s, err := session.Begin(ctx, h.waiting)
	return h.opened(s, err)
}

// Look opens the host for plans only.
func Look(o Options) (*Host, error) {
	h := &Host{o: o, lookOnly: true}
	s, err := session.Look()
	return h.opened(s, err)
}

func (h *Host) opened(s *session.Session, err error) (*Host, error) {
	if err != nil {
		return nil, err
	}
	s.Old = h.o.Old
	h.s = s
	return h, nil
}

// Close releases the host.
func (h *Host) Close() { h.s.Close() }

func (h *Host) waiting(pid int) { h.tell(Waiting{pid}) }

func (h *Host) tell(e Event) {
	if h.o.Report != nil {
		h.o.Report(e)
	}
}

func (h *Host) warn(err error) {
	if err != nil {
		h.tell(Warning{err})
	}
}

// A Wanted is the view to apply, or its text.
type Wanted struct {
	view    *tunnel.View
	text    []byte
	reading *tunnel.Reading // of the text, if the plan was made from it
}

// View makes a Wanted from a view.
func View(v *tunnel.View) *Wanted { return &Wanted{view: v} }

// Text makes a Wanted from a text that [tunnel.EncodeView] wrote. If it is almost the same
// as the last one, only the differences are parsed.
func Text(text []byte) *Wanted { return &Wanted{text: text} }

// Tunnel is the name of the tunnel. For a text only the name is parsed at first, since the
// device is asked for its state meanwhile, which takes as long.
func (w *Wanted) Tunnel() (string, error) {
	if w.view == nil {
		if name, ok := tunnel.NameIn(w.text); ok {
			return name, nil
		}
	}
	v, err := w.parsed()
	if err != nil {
		return "", err
	}
	return v.Tunnel, nil
}

// parsed is the view.
func (w *Wanted) parsed() (*tunnel.View, error) {
	if w.view == nil {
		v, err := tunnel.ParseView(w.text)
		if err != nil {
			return nil, err
		}
		w.view = v
	}
	return w.view, nil
}

// TestOnlyKernel lets a test make a step fail, or kill the process at one.
var TestOnlyKernel = func(k apply.Kernel) apply.Kernel { return k }
