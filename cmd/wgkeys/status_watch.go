package main

import (
	"fmt"
	"slices"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
)

// watchEvery is the default of --every.
const watchEvery = 2 * time.Second

// A silent Reporter says nothing, since it would disturb the picture.
type silent struct{}

func (silent) Say(string, ...any) {}
func (silent) Warn(error)         {}

// watchStatus looks again and again, until the user ends it. Each look takes a connection
// per host, unless the user's ssh_config shares one (ControlMaster).
func watchStatus(e *env, w *statusWriter) error {
	colours(e.ui)
	frame, ok := e.ui.NewFrame()
	if !ok || w.o.json || w.o.prometheus {
		frame = nil
	} else {
		e.hosts.Say = silent{}
		frame.Show([]ui.Line{{{Text: "asking the hosts ...", Style: ui.Faint}}})
	}
	var before []*remote.HostStatus
	seen, missed := false, "" // and the error of the last look
	for {
		begun := time.Now()
		all, err := w.look(remote.Survey{Follow: true, Before: before})
		if e.ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = w.show(frame, all)
		}
		switch {
		case err == nil:
			before, seen, missed = all, true, ""
		case !seen:
			return err
		default: // a tunnel file that is being written, a git pull, a disk that is full
			missed = w.tellMissed(frame, err, missed)
		}
		if ui.Lost(e.ui) {
			return nil
		}
		e.hosts.Terminal.Mute() // do not ask for a password twice a second
		select {
		case <-e.ctx.Done():
			return nil
		case <-time.After(time.Until(begun.Add(w.o.every))):
		}
	}
}

// show shows one of several looks: over the one before, or after it.
func (w *statusWriter) show(frame *ui.Frame, all []*remote.HostStatus) error {
	switch {
	case w.o.json && w.o.output == "": // a line each
		w.compare(all)
		w.e.ui.Event(all)
		return nil
	case w.o.json || w.o.prometheus:
		return w.write(all)
	}
	w.compare(all)
	t := w.table(all)
	t.Errors = true
	if frame == nil {
		w.e.ui.Draw(slices.Concat([]ui.Line{{{Text: t.Now.Format(time.RFC3339)}}}, t.Lines(), []ui.Line{nil}))
		return nil
	}
	frame.Show(append([]ui.Line{w.title(t.Now)}, t.Lines()...))
	return nil
}

func (w *statusWriter) title(now time.Time) ui.Line {
	title := fmt.Sprintf("%s  every %v, Ctrl-C ends", now.Format(time.TimeOnly), w.o.every)
	return ui.Line{{Text: title, Style: ui.Faint}}
}

// tellMissed says why there was no look this time: in place of the table or, once, as a
// warning.
func (w *statusWriter) tellMissed(frame *ui.Frame, err error, missed string) string {
	text := fault.OneLine(err)
	switch {
	case frame != nil:
		frame.Show([]ui.Line{w.title(time.Now()), {{Text: "  ! ", Style: ui.Red}, {Text: text}}})
	case text != missed:
		w.e.ui.Warn(err)
	}
	return text
}
