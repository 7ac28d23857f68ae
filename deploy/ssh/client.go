package ssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// A Client is a Runner over ssh(1).
type Client struct {
	Host string // the host's short name, for messages
	Dest string // where ssh connects to: [user@]name, or an ssh:// URI; "": Host

	Args           []string      // more arguments for ssh, by the user's own choice
	Batch          bool          // there is no user to ask: ssh must not prompt
	ConnectTimeout time.Duration // as in ssh_config(5); 0: that of the user's configuration
	Terminal       *Terminal     // where ssh asks for one host at a time; nil: it may ask at once
	Stderr         io.Writer     // gets what ssh and the command say, line by line, made printable; may be nil
	SaysBegin      bool          // the command writes the line [Begins] first, to standard error too

	// Uninterrupted keeps ssh running at Ctrl-C, which a terminal sends to all programs in
	// the foreground.
	Uninterrupted bool

	// Limit is how long the host may say nothing, and how long to try again if a connection
	// is closed before authentication. 0: the host is waited for without limit, and no
	// connection is tried again.
	Limit  time.Duration
	Note   func(text string)    // called with the reason why a connection is tried again; may be nil
	Remark func(lines []string) // called with ssh's own warnings about the connection; may be nil

	Unknown func() string // returns the end of the hint if no address of the host is known; may be nil
}

// ownFault is the exit status of ssh if ssh itself failed; otherwise it is that of the
// command (ssh(1), EXIT STATUS).
const ownFault = 255

// Run implements [Runner].
func (c *Client) Run(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	in := newReplay(stdin)
	defer in.end()
	oneByOne := c.Terminal != nil && !c.Batch
	if oneByOne {
		if err := c.Terminal.reach(c.Host); err != nil {
			return err
		}
	}
	again := attempts{limit: c.Limit, begun: time.Now()}
	for {
		t := &try{command: command, in: in, stdout: stdout, verbose: again.n > 0, mute: c.Batch || oneByOne}
		a, err := c.answered(ctx, t, &again)
		if err != nil {
			return err
		}
		if !a.closedEarly() || ctx.Err() != nil {
			return c.explain(ctx, a)
		}
		again.count(a.said)
		if !again.pause(ctx, c) {
			return again.err(c, a.said)
		}
	}
}

// answered is an attempt, and a second one in which ssh asks the user, alone, if the first
// was refused because it could not ask.
func (c *Client) answered(ctx context.Context, t *try, again *attempts) (*attempt, error) {
	a := c.attempt(ctx, t)
	if c.Terminal != nil && !c.Batch && a.refusedUnasked() && ctx.Err() == nil {
		if err := c.Terminal.mayAsk(c, a); err != nil {
			return nil, err
		}
		var waited time.Duration
		a, waited = c.askAlone(ctx, t, a)
		again.begun = again.begun.Add(waited) // which was no attempt
	}
	if c.Remark != nil && len(a.said.remarks) > 0 {
		c.Remark(a.said.remarks)
	}
	return a, nil
}

// An attempt is one run of ssh.
type attempt struct {
	code  int
	said  *hearing
	err   error
	heard bool // the command has written to standard output: it runs
}

func (c *Client) attempt(ctx context.Context, t *try) *attempt {
	later := !olderSSH.Load()
	a := c.attemptWith(ctx, t, later)
	if later && a.code == ownFault && unknownOption().MatchString(a.said.last()) {
		olderSSH.Store(true)
		return c.attemptWith(ctx, t, false)
	}
	return a
}

// attemptWith is an attempt with the options of a later ssh, or without them.
func (c *Client) attemptWith(ctx context.Context, t *try, later bool) *attempt {
	a := &attempt{}
	p := process{stdin: t.in.begin(), stdout: t.stdout, watch: c.Stderr, saysBegin: c.SaysBegin, limit: c.Limit,
		verbose: t.verbose, talks: talks(t.in.src)}
	p.argv = append([]string{"ssh"}, c.argv(t, later)...)
	if c.Terminal != nil && !c.Batch {
		p.env = askpassEnvironment(c.Terminal.Askpass, c.Terminal.mark, t.mute)
		p.tell = c.Terminal.teller(c.Host, !t.mute)
	}
	if c.Uninterrupted {
		if _, a.err = exec.LookPath("ssh"); a.err != nil { // the 127 of /bin/sh would look like the host's
			a.said = &hearing{}
			return a
		}
		p.argv, p.apart = append(uninterrupted, p.argv...), true
	}
	p.heard = func() {
		a.heard = true
		t.in.commit()
		if t.entered != nil {
			t.entered()
		}
	}
	a.code, a.said, a.err = p.run(ctx)
	return a
}

func (c *Client) explain(ctx context.Context, a *attempt) error {
	switch {
	case errors.Is(a.err, exec.ErrNotFound):
		return fault.New("cannot run", "ssh", "there is no such program here", howToInstall)
	case errors.Is(a.err, ErrSilent):
		hint := "ssh " + words.ForShell(c.dest()) + " true"
		if _, ok := errors.AsType[flood](a.err); !ok {
			hint += fmt.Sprintf("; if it only takes long: --timeout %v", 4*c.Limit)
		}
		return fault.WrapHost(a.err, "no answer from host", c.Host, hint)
	case ctx.Err() != nil:
		return stopped(ctx, c.Host)
	case a.err != nil:
		return fault.WrapHost(a.err, "cannot run ssh for host", c.Host, "")
	case a.code == ownFault:
		return c.unreachable(a.said)
	case a.code != 0:
		return failed(c.Host, &ExitError{Code: a.code, Stderr: a.said.String()})
	}
	return nil
}

// check refuses a destination that ssh could read as something else.
func (c *Client) check() error {
	dest := c.dest()
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	switch {
	case dest == "":
		return fault.NewHost("no ssh destination for host", c.Host, "the name is empty", "")
	case strings.HasPrefix(dest, "-"):
		return fault.New("refused the ssh destination", dest, "it begins with a dash, as an option does", "")
	case strings.ContainsFunc(dest, odd):
		return fault.New("refused the ssh destination", dest, "it holds white space or a control character", "")
	}
	return nil
}

func (c *Client) dest() string {
	if c.Dest != "" {
		return c.Dest
	}
	return c.Host
}

// laterOptions override settings that a user may have for a host to which ssh only forwards
// ports: no command would run there, none would get its input, or its end would not be known.
// They are new in OpenSSH 8.7; olderSSH is set once an older one has refused them.
var (
	laterOptions  = []string{"SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"}
	olderSSH      atomic.Bool
	unknownOption = lazyregexp.New(`^command-line: line \d+: Bad configuration option: `)
)

// argv overrides what in the user's configuration would disturb a single command: a
// terminal, a RemoteCommand, forwardings, which fail if a port is taken, and a LogLevel, without
// which ssh may not say why it failed. The agent is not forwarded, because root on the host
// could use it.
func (c *Client) argv(t *try, later bool) []string {
	argv := []string{"-T", "-a", "-x", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "LogLevel=INFO"}
	if later {
		for _, o := range laterOptions {
			argv = append(argv, "-o", o)
		}
	}
	if t.verbose {
		argv = append(argv, "-v")
	}
	if t.mute {
		argv = append(argv, "-o", "BatchMode=yes")
	}
	if c.ConnectTimeout > 0 {
		seconds := max(1, int(c.ConnectTimeout/time.Second))
		argv = append(argv, "-o", "ConnectTimeout="+strconv.Itoa(seconds))
	}
	argv = append(argv, c.Args...)
	return append(argv, "--", c.dest(), t.command)
}

// ErrUnreachable is the cause of a [Client]'s error if ssh itself failed: the command did
// not run, or the connection was lost while it ran.
var ErrUnreachable = errors.New("ssh failed")

// An unreachable is ErrUnreachable with the message of ssh.
type unreachable string

func (u unreachable) Error() string        { return string(u) }
func (u unreachable) Is(target error) bool { return target == ErrUnreachable }

func (c *Client) unreachable(said *hearing) error {
	why := cmp.Or(said.onTheWay(), said.last(), "ssh gave no reason")
	hint := "ssh " + words.ForShell(c.dest()) + " true"
	if c.Unknown != nil && strings.Contains(why, "Could not resolve hostname") {
		hint += c.Unknown()
	}
	return fault.WrapHost(unreachable(why), "cannot reach host", c.Host, hint)
}
