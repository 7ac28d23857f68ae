package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"wgkeys/cmd/internal/many"
	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// A crew is the hosts of a tunnel that a verb works on (status has its own).
type crew struct {
	e      *env
	repo   *repo.Repo
	views  *repo.AllViews
	tunnel *tunnel.Tunnel
	hosts  []string
	crewOptions

	live  *ui.Live
	found bool // by a plan: there is a step to take

	mu      sync.Mutex
	results map[string]json.RawMessage // with --json
}

// newCrew finds the hosts. This machine is included only if it is named.
func newCrew(e *env) (*crew, error) {
	if err := checkJobs(e); err != nil {
		return nil, err
	}
	r, err := e.repo()
	if err != nil {
		return nil, err
	}
	t, err := e.tunnel(r)
	if err != nil {
		return nil, err
	}
	hosts, err := hostsMeant(e, []*tunnel.Tunnel{t})
	if err != nil {
		return nil, err
	}
	c := &crew{e: e, repo: r, views: &repo.AllViews{Repo: r}, tunnel: t, crewOptions: crewOptionsOf(e),
		results: map[string]json.RawMessage{}}
	for _, h := range hosts {
		if _, err := t.KeyFiles(h); err != nil {
			return nil, err
		}
		if err := requireManaged(e, t, h); err != nil {
			return nil, err
		}
		if e.hosts.IsLocal(t, h) && !slices.Contains(e.names(), h) {
			e.ui.Say("left out %s, which is this machine: wgkeys %s %[1]s serves it", h, e.cli.Command.Name)
			continue
		}
		c.hosts = append(c.hosts, h)
	}
	return c, nil
}

// A task is what is done on one host.
type task func(ctx context.Context, hosts *remote.Hosts, host string) error

// run does the task on all hosts, and reports each as it is done.
func (c *crew) run(do task, w many.Work) error {
	ctx := context.WithoutCancel(c.e.ctx) // those under way are finished
	if looks.Load() {
		ctx = c.e.ctx
	}
	c.e.hosts.Uninterrupted = interruptible()
	c.live = c.e.ui.Live(len(c.hosts))
	transcripts := map[string]*transcript{}
	w.Hosts, w.Jobs, w.Stop = c.hosts, c.jobs, c.e.ctx.Done()
	if c.stopAfter > 0 {
		w.StopAfter = c.stopAfter
	}
	for _, h := range c.hosts {
		transcripts[h] = &transcript{crew: c, host: h}
	}
	w.Do = func(host string) error {
		c.live.At(host, "...")
		return transcripts[host].listen(ctx, do)
	}
	w.Done = func(o many.Outcome) {
		c.live.Done(o.Host, o.Err != nil, func() { transcripts[o.Host].tell(o.Err) })
	}
	ended := sayStopping(c.e, c.live)
	outcomes := w.Run()
	ended()
	c.live.End()
	return c.sum(outcomes)
}

// interruptible reports whether there is a terminal, whose Ctrl-C would reach the children
// of this process, too. Without one they need no protection, which would cost each
// connection the start of a shell.
func interruptible() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// sayStopping explains what a signal does, if one arrives before stop is called.
func sayStopping(e *env, live *ui.Live) (stop func() bool) {
	does := "no more hosts are begun; those under way are finished, and a second signal ends at once"
	if looks.Load() {
		does = "no more hosts are asked, and those under way are not waited for"
	}
	return context.AfterFunc(e.ctx, func() {
		live.Say(func() { e.ui.Say("%s", does) })
	})
}

// sum returns the outcome, and what to run for the hosts that are not done.
func (c *crew) sum(outcomes []many.Outcome) error {
	if c.json {
		if err := c.e.ui.JSON(c.resultsOf(outcomes)); err != nil {
			return err
		}
	}
	err := summary(c.e, outcomes)
	if err == nil && c.found {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return err
}

// summary reports the outcome on several hosts. Its error says which are not done, why, and
// which command does the rest.
func summary(e *env, outcomes []many.Outcome) error {
	s := many.Sum(outcomes)
	if len(s.Failed)+len(s.NotBegun) == 0 {
		e.ui.Say("%s done", ui.Plural(len(s.Done), "host"))
		return nil
	}
	var why []string
	then := "for the rest: "
	if n := len(s.Failed); n > 0 {
		why, then = append(why, fmt.Sprintf("%d failed, see above", n)), "once that is fixed: "
	}
	if n := len(s.NotBegun); n > 0 {
		why = append(why, fmt.Sprintf("%d not begun: %s", n, ui.Naming(s.NotBegun)))
	}
	left := fmt.Sprintf("not done on %d of %s", len(s.Failed)+len(s.NotBegun), ui.Plural(len(outcomes), "host"))
	rest := fault.New(left, "", strings.Join(why, ", and "),
		then+retry(e, slices.Concat(s.Failed, s.NotBegun)))
	return failures(len(outcomes)-len(s.Done), len(outcomes), errors.Join(append(s.Errs, rest)...))
}

// retry returns the same command line for some of its hosts.
func retry(e *env, hosts []string) string {
	line := append([]string{"wgkeys", e.cli.Command.Name}, flagsOf(e)...)
	return strings.Join(append(line, hosts...), " ")
}

// A manyResult is the outcome on one host, for programs.
type manyResult struct {
	Host   string          `json:"host"`
	Result json.RawMessage `json:"result,omitempty"`
	Begun  bool            `json:"begun"`
	Error  string          `json:"error,omitempty"`
}

func (c *crew) resultsOf(outcomes []many.Outcome) []manyResult {
	all := make([]manyResult, len(outcomes))
	for i, o := range outcomes {
		all[i] = manyResult{Host: o.Host, Begun: o.Begun, Result: c.results[o.Host]}
		if o.Err != nil {
			all[i].Error = o.Err.Error()
		}
	}
	return all
}

// A transcript is the output of a host, until it is printed in one piece.
type transcript struct {
	crew *crew
	host string

	mu    sync.Mutex
	lines []said
	json  bytes.Buffer
}

// A said is a line of output.
type said struct {
	line   string
	result bool // on standard output
}

// listen does the task on the host, and records the output.
func (s *transcript) listen(ctx context.Context, do task) error {
	out, talk := s.writer(s.addResult), s.writer(s.addMessage)
	var stdout io.Writer = out
	if s.crew.json {
		stdout = &s.json
	}
	err := do(ctx, s.crew.e.hosts.With(stdout, talk, s), s.host)
	out.Flush()
	talk.Flush()
	s.crew.mu.Lock()
	defer s.crew.mu.Unlock()
	if json.Valid(s.json.Bytes()) {
		s.crew.results[s.host] = s.json.Bytes()
	}
	if exit, ok := errors.AsType[*ui.ExitError](err); ok && exit.Code == ui.ExitFindings && exit.Err == nil {
		s.crew.found = true
		return nil
	}
	return err
}

func (s *transcript) writer(add func(line string)) *ui.LineWriter {
	return &ui.LineWriter{Line: func(line string) { add(strings.TrimPrefix(line, "wgkeys: ")) }}
}

func (s *transcript) addResult(line string)  { s.add(said{line, true}) }
func (s *transcript) addMessage(line string) { s.add(said{line, false}) }

func (s *transcript) add(l said) {
	s.crew.live.At(s.host, l.line)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

// Say and Warn implement [ui.Reporter].
func (s *transcript) Say(format string, args ...any) {
	if !s.crew.e.ui.Quiet {
		s.addMessage(strings.TrimPrefix(fmt.Sprintf(format, args...), s.host+": "))
	}
}

func (s *transcript) Warn(err error) {
	for _, line := range fault.Lines(err) {
		s.addMessage("warning: " + line)
	}
	for _, hint := range fault.Hints(err) {
		s.addMessage("hint: " + s.crew.e.ui.There(hint))
	}
}

// tell prints the output of the host, with its name before every line. Its error is
// repeated at the end.
func (s *transcript) tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.result {
			s.crew.e.ui.Printf("%s: %s\n", s.host, l.line)
		} else if err == nil || !strings.HasPrefix(l.line, "error: ") && !strings.HasPrefix(l.line, "hint: ") {
			s.crew.live.OfHost(s.host, l.line)
		}
	}
	if err != nil {
		s.crew.live.OfHost(s.host, "failed")
	}
}
