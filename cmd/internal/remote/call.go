package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// asRoot runs the host's wgkeys, with sudo if the user is not root. It contains no quotes,
// newlines or exclamation marks inside, so that every login shell reads it alike. The
// arguments are verbs and flags of ours. It says itself where the output of wgkeys begins, and
// where what wgkeys writes to standard error does.
// Root is known by whose /proc/sys is: id would be a process more on each of many hosts.
// A shell would run an empty file, which a full disk may have left of wgkeys, as a script that
// does all of it well.
const asRoot = `exec sh -c 'echo ` + begins + `; echo ` + begins + ` >&2; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin; w=$(command -v wgkeys) && [ -s "$w" ] || exit 127; { [ -O /proc/sys ] || [ "$(id -u)" = 0 ]; } 2>/dev/null && exec wgkeys "$@"; command -v sudo >/dev/null || { echo sudo: ` + ssh.NoSudo + ` >&2; exit 1; }; exec sudo -n "$w" "$@"' sh`

// A call is a command line of wgkeys on a host.
type call struct {
	args   []string
	view   *tunnel.View // on its standard input; nil: nothing
	own    Own          // whose machine it has to be; nil: the view or a token tells
	stdout io.Writer    // nil: that of Hosts
	begun  *bool        // set if the command has begun on the host; may be nil
}

// run runs wgkeys on the host. Its output is shown as it comes; its exit code becomes ours.
// An older wgkeys that refuses only what it can do without is asked again without that.
func (h *Hosts) run(ctx context.Context, t *tunnel.Tunnel, host string, c call) error {
	if c.stdout == nil {
		c.stdout = h.Stdout
	}
	for {
		r := &running{call: c, hosts: h, t: t, host: host, local: h.IsLocal(t, host), limits: h.limits.get(host)}
		err := r.run(ctx)
		if !r.limits.learn(r.refused) {
			return err
		}
		h.limits.set(host, r.limits)
	}
}

// A running is one attempt at a call.
type running struct {
	call
	hosts   *Hosts
	t       *tunnel.Tunnel
	host    string
	local   bool // it is this machine
	limits  limits
	refused string // what an older wgkeys does not know; "": nothing
}

func (r *running) run(ctx context.Context) error {
	view, err := r.text()
	if err != nil {
		return err
	}
	var said reason
	stderr := io.MultiWriter(r.hosts.Stderr, &said)
	here := &adviser{w: stderr, t: r.t, host: r.host, limits: r.limits}
	if !r.local {
		stderr = here
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	kept := &bounded{w: r.stdout, left: maxKept, over: stop} // for several hosts it is kept until the end
	talk := &bounded{w: stderr, left: maxKept, over: stop}
	out := &ui.Screen{W: kept} // the host is not trusted with the terminal
	end := &ending{w: out}
	own := &ownWords{w: end, begun: r.local, found: r.local}
	err = showing(r.hosts.Runner(r.t, r.host), talk).Run(ctx, r.command(), bytes.NewReader(view), own)
	if r.begun != nil {
		*r.begun = own.found
	}
	if why := own.unbegun(err); why != nil {
		return noShell(r.t, r.host, why)
	}
	own.flush()
	end.flush()
	out.Flush()
	here.flush()
	r.refused = here.refused
	if kept.left < 0 || talk.left < 0 {
		return fault.NewHost("wgkeys "+r.args[0]+" failed on host", r.host, errTooMuch.Error(), "")
	}
	if r.tellsEnd() {
		err = end.judge(err)
	}
	return r.explain(ctx, err, &said)
}

// text is what the host gets on standard input.
func (r *running) text() ([]byte, error) {
	if r.view == nil {
		return nil, nil
	}
	v := r.view
	if r.limits.diagnosis {
		v = v.WithoutDiagnosis()
	}
	var text bytes.Buffer
	err := tunnel.EncodeView(&text, v)
	return text.Bytes(), err
}

// tellsEnd reports whether wgkeys on the host has to say how it ended: something else that has its
// name there, or a wrapper around it, can exit with 0 and have done nothing.
func (r *running) tellsEnd() bool { return !r.local && !r.limits.end }

// command runs wgkeys on the host with the arguments, and with the same verbosity as this
// one.
func (r *running) command() string {
	command := r.hosts.program(r.t, r.host)
	for _, a := range r.args {
		command += " " + words.Quote(a)
	}
	if r.hosts.Quiet {
		command += " -q"
	}
	if r.tellsEnd() {
		command += " --" + ui.EndFlag
	}
	if r.own != nil && !r.local && !r.limits.of {
		command += r.own.flags(r.host)
	}
	return command
}

// Own are the public keys of a host, not nil. With its name they tell a machine whether ssh has led
// to another one.
type Own []keyring.PublicKey

func (o Own) flags(host string) string {
	flags := " --" + ui.OfFlag + " " + words.Quote(host)
	for _, k := range o {
		flags += " --" + ui.OfKeyFlag + " " + words.Quote(k.String())
	}
	return flags
}

// explain is the error of a call that ended with err.
func (r *running) explain(ctx context.Context, err error, said *reason) error {
	if errors.Is(err, errNoEnd) {
		return fault.WrapHost(err, "cannot tell what wgkeys "+r.args[0]+" did on host", r.host, r.lookThere())
	}
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch exit.Code {
	case ui.ExitFindings, ui.ExitWaits:
		return ui.ExitWith(exit.Code, nil)
	case 127:
		return fault.WrapHost(ErrNotInstalled, "cannot run wgkeys on host", r.host, upgrade(r.host))
	}
	if err := noRoot(r.host, exit); err != nil {
		return err
	}
	what, why := "wgkeys "+r.args[0]+" failed on host", "it says why above"
	if its, hint := said.why(); r.hosts.Several && its != "" {
		if why = its; hint != "" && !isOlder(exit) { // the cause is not guessed
			return fault.NewHost(what, r.host, why, hint)
		}
	}
	return fault.NewHost(what, r.host, why, r.hosts.upgradeHint(ctx, r.t, r.host, err))
}

// lookThere is the command that shows what the host runs as wgkeys.
func (r *running) lookThere() string {
	dest, _ := r.t.SSH(r.host)
	if dest == "" {
		dest = r.host
	}
	return "ssh " + words.ForShell(dest) + " 'command -v wgkeys; wgkeys --version'"
}

// showing has what a command writes to standard error written to w as it comes. It is on a
// connection of its own, which detects when the network is gone.
func showing(r ssh.Runner, w io.Writer) ssh.Runner {
	switch r := r.(type) {
	case ssh.Local:
		r.Stderr = w
		return r
	case *ssh.Client:
		r.Stderr, r.SaysBegin = w, true
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
