// Package host is wgkeys on this host, without a command line: what apply would do,
// apply, confirm, down. It prints nothing and asks nobody; what there is to tell on the
// way goes to [Options.Report].
//
//	h, err := host.Begin(ctx, host.Options{})   // locks the host for changes
//	plan, err := h.Plan(ctx, host.View(view))   // what is to be done, to be shown
//	waits, err := h.Apply(ctx, plan)            // do it
//	h.Close()
//
// [Host.PlanTakeOver] and [Host.TakeOver] make a tunnel that another program brought up
// wgkeys' own, and [Host.GiveBack] is the way back.
//
// A tunnel that is down again leaves nothing. What outlives a command are processes, of
// which this very program is the binary: its main begins with
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

// Options are how this host is worked on. The zero value refuses views that are older
// than the host, and needs no confirmation.
type Options struct {
	Old     Admission     // what is done about views with keys that were replaced
	Confirm time.Duration // an apply is undone after that, unless Confirm comes; 0: it stays
	Token   string        // names the apply that waits to be confirmed; "": any
	Report  func(Event)   // is told what happens meanwhile; nil: nobody is
}

// An Admission says what is done about a view with keys that were replaced.
type Admission = session.Admission

const (
	RefuseOld = session.RefuseOld // it is refused
	AllowOld  = session.AllowOld  // it is taken, but for what was stolen
	DropOld   = session.DropOld   // their peers get a key that nobody has: the rest is to come up
)

// An Event is something to tell while work goes on: [Waiting], [Note], [Finding],
// [Warning] or [Done].
type Event interface{ event() }

// Waiting: another process is changing a tunnel on this host; its end is waited for.
type Waiting struct{ PID int }

// A Note is worth knowing, and nothing is wrong.
type Note string

// A Finding is wrong, and no step can mend it.
type Finding string

// A Warning is what went wrong though the tunnel is as wanted.
type Warning struct{ Err error }

// Done: all steps were taken.
type Done struct{}

func (Waiting) event() {}
func (Note) event()    {}
func (Finding) event() {}
func (Warning) event() {}
func (Done) event()    {}

// A Host is this host, locked for changes or only looked at. It is for one goroutine,
// and one plan.
type Host struct {
	s        *session.Session
	o        Options
	lookOnly bool
	wanted   *Wanted // of the last plan
}

// Begin locks the host for changes, waiting for whoever changes it now.
func Begin(ctx context.Context, o Options) (*Host, error) {
	h := &Host{o: o}
	s, err := session.Begin(ctx, h.waiting)
	return h.opened(s, err)
}

// Look opens the host for plans alone.
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

// Close lets go of the host.
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

// A Wanted is the view that is to be applied, or its text as it came.
type Wanted struct {
	view    *tunnel.View
	text    []byte
	reading *tunnel.Reading // of the text, where the plan was made of it
}

// View wants a view.
func View(v *tunnel.View) *Wanted { return &Wanted{view: v} }

// Text wants the view of a text, as [tunnel.EncodeView] writes it. Of a long one that is
// almost the one before little is read.
func Text(text []byte) *Wanted { return &Wanted{text: text} }

// Tunnel is the name of the tunnel. Where the text tells it by itself, the rest is not
// parsed before the device is asked what it has, which takes as long.
func (w *Wanted) Tunnel() (string, error) {
	if w.view == nil {
		if name, ok := tunnel.NameIn(w.text); ok {
			return name, nil
		}
		v, err := tunnel.ParseView(w.text)
		if err != nil {
			return "", err
		}
		w.view = v
	}
	return w.view.Tunnel, nil
}

// TestOnlyKernel lets a test make a step fail, or kill the process at one.
var TestOnlyKernel = func(k apply.Kernel) apply.Kernel { return k }
