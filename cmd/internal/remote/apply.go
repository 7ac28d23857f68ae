package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// asRoot runs the host's wgkeys, with sudo if the user is not root. It contains no quotes,
// newlines or exclamation marks inside, so that every login shell reads it alike. The
// arguments are verbs and flags of ours. It says itself where the output of wgkeys begins.
// A shell would run an empty file, which a full disk may have left of wgkeys, as a script that
// does all of it well.
const asRoot = `exec sh -c 'echo ` + begins + `; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin; w=$(command -v wgkeys) && [ -s "$w" ] || exit 127; [ "$(id -u)" = 0 ] && exec wgkeys "$@"; command -v sudo >/dev/null || { echo sudo: ` + ssh.NoSudo + ` >&2; exit 1; }; exec sudo -n "$w" "$@"' sh`

// ApplyOptions say how to apply a view on another host.
type ApplyOptions struct {
	PlanOnly bool
	Unknown  bool          // also with keys that the host has replaced since
	Confirm  time.Duration // undone after this time, unless confirmed over a new connection; 0: it stays
}

// Apply sends the view to the host's wgkeys. Only the plain configuration is sent, no
// secret. The host undoes the apply by itself unless it is confirmed over a new connection,
// so that nobody gets locked out.
func (h *Hosts) Apply(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View, o ApplyOptions) error {
	token, err := h.Begin(ctx, t, v, o)
	if err != nil || token == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Confirm)
	defer cancel()
	return h.Confirm(ctx, t, v.Host, token, o.Confirm)
}

// Begin is the first part of [Hosts.Apply]. If the host waits for a confirmation it returns
// its token, and otherwise "". If the change has cut the connection, a new one finds out
// whether the host waits.
func (h *Hosts) Begin(ctx context.Context, t *tunnel.Tunnel, v *tunnel.View, o ApplyOptions) (token string, err error) {
	var view bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		return "", err
	}
	args := []string{"apply", "--view", "-"}
	if o.PlanOnly {
		args[0] = "plan"
	}
	if o.Unknown {
		args = append(args, "--unknown")
	}
	args = asJSON(h, args)
	if o.PlanOnly || o.Confirm <= 0 {
		return "", h.run(ctx, t, v.Host, call{args: args, stdin: &view})
	}
	token = rand.Text()
	heard := &listener{w: h.Stdout}
	err = h.run(ctx, t, v.Host, call{append(args, "--confirm", o.Confirm.String(), "--token", token), &view, heard})
	var exit *ui.ExitError
	waits := errors.As(err, &exit) && exit.Code == ui.ExitWaits
	lost := errors.Is(err, ssh.ErrUnreachable) && (heard.any || h.Quiet)
	if !waits && !lost {
		return "", err
	}
	return token, nil
}

// A listener records whether anything was ever heard: a host that was never reached has
// nothing to confirm.
type listener struct {
	w   io.Writer
	any bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.any = l.any || len(p) > 0
	return l.w.Write(p)
}

// Confirm confirms an apply over a new connection: the one with this token, for which it
// waits up to the given time, or if token is "" any that waits.
func (h *Hosts) Confirm(ctx context.Context, t *tunnel.Tunnel, host, token string, wait time.Duration) error {
	args := []string{"confirm", "-t", t.Name}
	if token != "" {
		args = append(args, "--token", token)
	} else {
		args = asJSON(h, args) // with a token, the apply has reported everything
	}
	err := h.run(ctx, t, host, call{args: args})
	if err != nil && wait > 0 && (errors.Is(err, ssh.ErrUnreachable) || ctx.Err() != nil) {
		return fault.WrapHost(err, "could not confirm the apply on host", host,
			fmt.Sprintf("if it was begun there, the host undoes it by itself within %v; then: %s", wait, t.Commands.Run("plan", host)))
	}
	return err
}

// Down makes a host undo its apply of a tunnel.
func (h *Hosts) Down(ctx context.Context, t *tunnel.Tunnel, host string, dry bool) error {
	args := []string{"down", "-t", t.Name}
	if dry {
		args = append(args, "-n")
	}
	return h.run(ctx, t, host, call{args: asJSON(h, args)})
}

// asJSON adds --json to the arguments of a verb that has it, if this command has it, too.
func asJSON(h *Hosts, args []string) []string {
	if h.JSON {
		return append(args, "--json")
	}
	return args
}

// A call is a command line of wgkeys on a host.
type call struct {
	args   []string
	stdin  io.Reader // nil: empty
	stdout io.Writer // nil: that of Hosts
}

// run runs wgkeys on the host. Its output is shown as it comes; its exit code becomes ours.
func (h *Hosts) run(ctx context.Context, t *tunnel.Tunnel, host string, c call) error {
	if c.stdin == nil {
		c.stdin = strings.NewReader("")
	}
	if c.stdout == nil {
		c.stdout = h.Stdout
	}
	var said reason
	stderr := io.MultiWriter(h.Stderr, &said)
	here := &adviser{w: stderr, t: t, host: host}
	if !h.IsLocal(t, host) {
		stderr = here
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	kept := &bounded{w: c.stdout, left: maxKept, over: stop} // for several hosts it is kept until the end
	talk := &bounded{w: stderr, left: maxKept, over: stop}
	r := showing(h.Runner(t, host), talk)
	out := &ui.Screen{W: kept} // the host is not trusted with the terminal
	own := &ownWords{w: out, begun: h.IsLocal(t, host), found: h.IsLocal(t, host)}
	err := r.Run(ctx, h.command(t, host, c.args), c.stdin, own)
	if why := own.unbegun(err); why != nil {
		return noShell(t, host, why)
	}
	own.flush()
	out.Flush()
	here.flush()
	if kept.left < 0 || talk.left < 0 {
		return fault.NewHost("wgkeys "+c.args[0]+" failed on host", host, errTooMuch.Error(), "")
	}
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch exit.Code {
	case ui.ExitFindings, ui.ExitWaits:
		return ui.ExitWith(exit.Code, nil)
	case 127:
		return fault.WrapHost(ErrNotInstalled, "cannot run wgkeys on host", host, upgrade(host))
	}
	if err := noRoot(host, exit); err != nil {
		return err
	}
	what, why := "wgkeys "+c.args[0]+" failed on host", "it says why above"
	if its, hint := said.why(); h.Several && its != "" {
		if why = its; hint != "" && !isOlder(exit.Stderr) { // the cause is not guessed
			return fault.NewHost(what, host, why, hint)
		}
	}
	return fault.NewHost(what, host, why, h.upgradeHint(ctx, t, host, err))
}

// showing has what a command writes to standard error written to w as it comes. It is on a
// connection of its own, which detects when the network is gone.
func showing(r ssh.Runner, w io.Writer) ssh.Runner {
	switch r := r.(type) {
	case ssh.Local:
		r.Stderr = w
		return r
	case *ssh.Client:
		r.Stderr = w
		r.Args = []string{"-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ServerAliveInterval=2", "-o",
			"ServerAliveCountMax=3"}
	}
	return r
}

// noRoot is the error of a host where sudo refuses the user; otherwise nil.
func noRoot(host string, exit *ssh.ExitError) error {
	why, refused := ssh.SudoSaid(exit.Stderr)
	if !refused {
		return nil
	}
	return ssh.Refusal{Host: host, Why: why, Local: exit.Local}.Err()
}

// command runs wgkeys on a host with some arguments, and with the same verbosity as this
// one.
func (h *Hosts) command(t *tunnel.Tunnel, host string, args []string) string {
	command := h.program(t, host)
	for _, a := range args {
		command += " " + words.Quote(a)
	}
	if h.Quiet {
		command += " -q"
	}
	return command
}

// maxKept is a bound for the plan of a host with ten thousand peers, in bytes.
const maxKept = 16 << 20

// program is the host's wgkeys, for its shell; arguments may follow.
func (h *Hosts) program(t *tunnel.Tunnel, host string) string {
	self, err := os.Executable()
	if err != nil || !h.IsLocal(t, host) {
		return asRoot
	}
	return `exec sh -c '[ "$(id -u)" = 0 ] || exec sudo -n "$@"; exec "$@"' sh ` + words.Quote(self)
}

// A reason keeps the last error of wgkeys on a host, and its hint, to repeat it after the
// output of many hosts.
type reason struct{ end []byte }

// reasonMax is a bound for an error and its hint, in bytes.
const reasonMax = 8 << 10

func (r *reason) Write(p []byte) (int, error) {
	r.end = append(r.end, p...)
	r.end = r.end[max(0, len(r.end)-reasonMax):]
	return len(p), nil
}

func (r *reason) why() (why, hint string) {
	for line := range strings.Lines(string(r.end)) {
		line = ui.Printable(strings.TrimSpace(line))
		if text, ok := strings.CutPrefix(line, "wgkeys: error: "); ok && why == "" {
			why = text
		}
		if text, ok := strings.CutPrefix(line, "wgkeys: hint: "); ok && hint == "" {
			hint = text
		}
	}
	return why, hint
}
