// Package remote runs wgkeys on another host: it reaches the host, sends it a view, makes
// it take part in a rotation, and asks for its status.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// Hosts says how this machine reaches the hosts of a tunnel; one of them may be this
// machine.
type Hosts struct {
	Self           string        // the host that this machine is; "": the one with its short name
	Limit          time.Duration // how long a host may be silent
	Batch          bool          // ssh must not ask, even if there is a terminal
	Terminal       *ssh.Terminal // where ssh asks for one host at a time
	Say            ui.Reporter
	Stdout, Stderr io.Writer // for the output of wgkeys on a host
	Quiet, JSON    bool      // flags of this command that wgkeys there gets, too
	// there are several hosts: the error of one repeats the cause, which may have been
	// printed far above
	Several       bool
	Uninterrupted bool   // Ctrl-C on the terminal does not end what is under way
	Version       string // of this program
	// wraps each request of a rotation; tests use it to make one fail
	Step func(name string, do func() error) error

	mu     sync.Mutex
	warned map[string]bool // by host: ssh's warning was shown
	lines  lines
	limits limitsOf
}

// With returns a copy for one of several hosts, with another destination for its output.
func (h *Hosts) With(stdout, stderr io.Writer, say ui.Reporter) *Hosts {
	return &Hosts{Self: h.Self, Limit: h.Limit, Batch: h.Batch, Terminal: h.Terminal, Say: say,
		Stdout: stdout, Stderr: stderr, Quiet: h.Quiet, JSON: h.JSON, Several: true, Uninterrupted: h.Uninterrupted,
		Version: h.Version, Step: h.Step}
}

// Runner runs commands on a host: directly if it is this machine, otherwise over ssh.
func (h *Hosts) Runner(t *tunnel.Tunnel, host string) ssh.Runner {
	if h.IsLocal(t, host) {
		return ssh.Local{Limit: h.Limit}
	}
	dest, elsewhere := t.SSH(host)
	c := h.client(host, dest)
	c.Unknown = func() string {
		short, err := ShortName()
		if elsewhere || h.Self != "" || err != nil || slices.Contains(t.Hosts(), short) {
			return ""
		}
		return "; if it is this machine: --host " + host // whose name is that of no host
	}
	return c
}

// client reaches a host by its destination.
func (h *Hosts) client(host, dest string) *ssh.Client {
	return &ssh.Client{
		Host: host, Dest: dest,
		Batch:          h.Batch || !term.IsTerminal(int(os.Stdin.Fd())),
		Terminal:       h.Terminal,
		Limit:          h.Limit,
		Uninterrupted:  h.Uninterrupted,
		ConnectTimeout: h.Limit - time.Second, // ssh itself says more about what it waits for
		Note:           func(text string) { h.Say.Say("%s: %s", host, text) },
		Remark:         func(lines []string) { h.remark(host, lines) },
	}
}

// remark shows, once for a host, a warning of ssh about its connections, of which a command
// may make several.
func (h *Hosts) remark(host string, lines []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.warned[host] {
		return
	}
	if h.warned == nil {
		h.warned = map[string]bool{}
	}
	h.warned[host] = true
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(l, "** "), "WARNING: "), ".")
	}
	h.Say.Warn(fault.NewHost("ssh warns of the connection to", host, strings.Join(lines, "; "), ""))
}

// ShortName is this machine's name without its domain.
func ShortName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.Wrap(err, "cannot tell this machine's name", "", "name it with --host HOST")
	}
	short, _, _ := strings.Cut(name, ".")
	return strings.ToLower(short), nil
}

// IsLocal reports whether a host of t is this machine: the one that --host names or,
// without it, the one with this machine's short name, unless the tunnel file says otherwise
// with ssh =.
func (h *Hosts) IsLocal(t *tunnel.Tunnel, host string) bool {
	if named := h.Self; named != "" {
		return host == named
	}
	_, elsewhere := t.SSH(host)
	short, err := ShortName()
	return err == nil && host == short && !elsewhere
}

// Participant is a host of the tunnel that takes part in a rotation.
func (h *Hosts) Participant(t *tunnel.Tunnel, host string) (rotate.Participant, error) {
	files, err := t.KeyFiles(host)
	if err != nil {
		return rotate.Participant{}, err
	}
	ask := func(ctx context.Context, q rotate.Request) (a rotate.Answer, err error) {
		err = h.Step(q.Do+" "+host, func() error {
			a, err = h.ask(ctx, t, host, q)
			return err
		})
		if a.Fault != nil && a.Fault.Hint != "" && !h.IsLocal(t, host) {
			a.Fault.Hint = fromHere(t, host, a.Fault.Hint)
		}
		return a, err
	}
	return rotate.Participant{Host: host, KeyFile: files[t.Name+".key"], Ask: ask, Upgrade: upgrade(host)}, nil
}

// ask makes a host's wgkeys answer one request: this program itself if the host is this
// machine and we are root.
func (h *Hosts) ask(ctx context.Context, t *tunnel.Tunnel, host string, q rotate.Request) (a rotate.Answer, err error) {
	question, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	var said bytes.Buffer
	if h.IsLocal(t, host) && os.Geteuid() == 0 {
		err = answerHere(ctx, h.Version, question, &said)
	} else {
		a, err = h.lines.ask(ctx, host+" "+t.Name, question, q.Stay, h.Limit, func() *ssh.Session {
			return ssh.Start(context.WithoutCancel(ctx), noticing(h.Runner(t, host)), asRoot+" turn")
		})
		switch {
		case err == nil:
			return refuseEcho(a, t, host)
		case errors.Is(err, errUnclear):
			return a, otherVersion(host, "what it answers is not understood here")
		case errors.Is(err, errTooMuch):
			return a, fault.WrapHost(err, "cannot understand the answer of host", host, "")
		case !errors.Is(err, errLost):
			return a, participantError(t, host, err)
		}
		err = runParticipant(ctx, noticing(h.Runner(t, host)), t, host, question, &said)
	}
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(afterGreeting(said.Bytes()), &a); err != nil {
		return a, otherVersion(host, "what it answers is not understood here")
	}
	return refuseEcho(a, t, host)
}

// refuseEcho returns an answer, or an error if it is the request that the host has sent back: a
// request reads like the answer of a host that has done what it was asked.
func refuseEcho(a rotate.Answer, t *tunnel.Tunnel, host string) (rotate.Answer, error) {
	if a.Do != "" {
		return rotate.Answer{}, noShell(t, host, errEcho)
	}
	return a, nil
}

var errEcho = errors.New("it repeats what it is sent")

func runParticipant(ctx context.Context, r ssh.Runner, t *tunnel.Tunnel, host string, question []byte,
	said *bytes.Buffer) error {
	err := r.Run(ctx, asRoot+" turn", bytes.NewReader(question), &bounded{w: said, left: maxAnswer})
	if text := said.Bytes(); !bytes.Contains(text, []byte(begins)) && !bytes.HasPrefix(afterGreeting(text), []byte("{")) {
		err = cmp.Or(unbegun(noiseIn(text), err), err)
	}
	return participantError(t, host, err)
}

// noShell is the error of a host on which the command did not begin.
func noShell(t *tunnel.Tunnel, host string, why error) error {
	dest, _ := t.SSH(host)
	return ssh.NoShell(host, dest, why)
}

// noticing makes ssh notice soon that a connection is lost.
func noticing(r ssh.Runner) ssh.Runner {
	if c, ok := r.(*ssh.Client); ok {
		c.Args = []string{"-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=5"}
	}
	return r
}

// HangUp closes the connections that wait for another request of a rotation.
func (h *Hosts) HangUp() { h.lines.hangUp() }

// participantError explains why wgkeys on a host failed.
func participantError(t *tunnel.Tunnel, host string, err error) error {
	if unbegun, ok := errors.AsType[*unbegunError](err); ok {
		return noShell(t, host, unbegun)
	}
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch {
	case exit.Code == 127:
		return fault.WrapHost(ErrNotInstalled, "cannot run wgkeys on host", host, upgrade(host))
	case exit.Code == ui.ExitUsage:
		return otherVersion(host, "it is older, and cannot tell how its tunnel stands")
	}
	if err := noRoot(host, exit); err != nil {
		return err
	}
	// plan shows the host's own error.
	return fault.WrapHost(err, "wgkeys failed on host", host, t.Commands.Run("plan", host))
}
