package ssh

import (
	"context"
	"crypto/rand"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// A Terminal is where ssh asks the user for a passphrase, or whether a host key is the right
// one. The clients of several hosts share it, so that only one question is on it at a time:
// otherwise nobody knows to which of them an answer goes.
//
// A client with a Terminal first connects without asking. Only where that is refused does it
// wait until no other asks, and connect again with questions.
type Terminal struct {
	UserInterface

	free     chan struct{} // holds a token while no ssh may ask
	answered atomic.Int64  // how often ssh got in after it was allowed to ask
	mark     string        // precedes what Askpass says; no host knows it

	mu      sync.Mutex
	hosts   map[string]bool  // that were reached for; true: ssh may have asked for its key
	advised bool             // about the same passphrase for many
	muted   bool             // nothing is asked any more
	lost    map[string]error // the hosts that would need it
}

// A UserInterface is what else writes to the terminal.
type UserInterface struct {
	// Yield is called before ssh may ask: nothing else is to be written until back is called.
	Yield func() (back func())
	// Print writes a line, while the terminal is yielded.
	Print func(line string)
	// Askpass is the path of a program that is [Askpass].
	Askpass string
	// Ended is closed when the user has ended the command: nothing more is asked.
	Ended <-chan struct{}
}

// signalDelay is how long after ssh has ended a Ctrl-C that ended it is waited for here. The
// kernel sends it to both at once, but ssh may act on it first.
const signalDelay = 250 * time.Millisecond

// NewTerminal returns a Terminal.
func NewTerminal(u UserInterface) *Terminal {
	t := &Terminal{UserInterface: u, free: make(chan struct{}, 1), mark: rand.Text(), hosts: map[string]bool{},
		lost: map[string]error{}}
	t.free <- struct{}{}
	return t
}

// take waits until no other ssh may ask, and reports false if the user has ended the command
// before.
func (t *Terminal) take(ctx context.Context) (release func(), ok bool) {
	select {
	case <-t.free:
	case <-ctx.Done():
		return nil, false
	case <-t.Ended:
		return nil, false
	}
	release = sync.OnceFunc(func() { t.free <- struct{}{} })
	select {
	case <-t.Ended: // that was closed while others asked
		release()
		return nil, false
	default:
		return release, true
	}
}

// Mute ends the questions, for a caller that reaches the same hosts again and again. A host
// that refuses a login without them is not tried any more: sshd would soon refuse all from
// here (PerSourcePenalties in sshd_config(5)).
func (t *Terminal) Mute() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.muted = true
}

// reach records that a host is reached for. The error is that of one that is not tried any more.
func (t *Terminal) reach(host string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.hosts[host] {
		t.hosts[host] = false
	}
	return t.lost[host]
}

// mayAsk reports whether ssh may ask about a host that has refused an attempt. If it may not
// the error says so.
func (t *Terminal) mayAsk(c *Client, refused *attempt) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.muted {
		return nil
	}
	err = c.unreachable(refused.said)
	if t.hosts[c.Host] {
		err = fault.WrapHost(unreachable("ssh has asked for its key, and does not ask again"), "cannot reach host", c.Host,
			loadKey()+", then the same command")
	}
	if slices.ContainsFunc(refused.said.lines(), denied().MatchString) {
		t.lost[c.Host] = err
	}
	return err
}

// announce says for which of several hosts ssh may ask next, since the question about a
// passphrase names the key alone. If keys of several hosts were asked about, it says once what
// makes that needless.
func (t *Terminal) announce(host string, refused *attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(refused.said.lines(), denied().MatchString) {
		delete(t.hosts, host)
		if others := slices.Contains(slices.Collect(maps.Values(t.hosts)), true); others && !t.advised {
			t.advised = true
			t.Print("hint: if it is the same passphrase for many hosts: Ctrl-C, then " + loadKey() + ", then the same command")
		}
		t.hosts[host] = true
	}
	if len(t.hosts) > 1 {
		t.Print(host + ": ssh may ask:")
	}
}

// loadKey is the command that has an agent keep the user's key.
func loadKey() string {
	if os.Getenv("SSH_AUTH_SOCK") != "" {
		return "ssh-add"
	}
	return `eval "$(ssh-agent)" && ssh-add`
}

// teller returns what a line on ssh's standard error is given to: it reports true if the line
// was Askpass's, and then tells it to the user. asking: the terminal is ssh's already.
func (t *Terminal) teller(host string, asking bool) func(line string) bool {
	return func(line string) bool {
		text, ours := strings.CutPrefix(line, t.mark)
		if !ours {
			return false
		}
		if !asking {
			defer t.Yield()()
		}
		t.Print(host + ": " + text)
		return true
	}
}

// mayAnswer matches ssh's last words where a user could have answered a question: about a key's
// passphrase, a password, or a host key that is unknown. Those of an ssh to a host on the way
// (ProxyJump) are not the last.
var mayAnswer = lazyregexp.New(`: Permission denied \([a-z0-9,-]+\)\.?$|^Host key verification failed`)

// denied matches those of them that are about a key or a password.
var denied = lazyregexp.New(`: Permission denied \([a-z0-9,-]+\)\.?$`)

// changedKey is in ssh's warning of a host key that is not the known one, after which it asks
// nothing.
const changedKey = "REMOTE HOST IDENTIFICATION HAS CHANGED"

// refusedUnasked reports whether the connection was refused, and might not be if ssh could ask
// or, where it has asked, were answered.
func (a *attempt) refusedUnasked() bool {
	if a.err != nil || a.code != ownFault || a.heard {
		return false
	}
	lines := a.said.lines()
	changed := func(line string) bool { return strings.Contains(line, changedKey) }
	return slices.ContainsFunc(lines, mayAnswer().MatchString) && !slices.ContainsFunc(lines, changed)
}

// askAlone connects once more, after refused, with the terminal to itself. It returns how
// long it waited for that.
func (c *Client) askAlone(ctx context.Context, t *try, refused *attempt) (a *attempt, waited time.Duration) {
	begun, answered := time.Now(), c.Terminal.answered.Load()
	release, ok := c.Terminal.take(ctx)
	waited = time.Since(begun)
	if !ok {
		return refused, waited
	}
	defer release()
	if c.Terminal.answered.Load() != answered { // the key may be in the agent by now
		if a = c.attempt(ctx, t.unasked(release)); !a.refusedUnasked() {
			return a, waited
		}
	}
	back := sync.OnceFunc(c.Terminal.Yield())
	defer back()
	c.Terminal.announce(c.Host, refused)
	a = c.attempt(ctx, t.asking(func() {
		c.Terminal.answered.Add(1)
		back()
		release()
	}))
	if a.refusedUnasked() { // the user may have ended it, and wants no other question
		select {
		case <-c.Terminal.Ended:
		case <-ctx.Done():
		case <-time.After(signalDelay):
		}
	}
	return a, waited
}

// A try is one of several runs of ssh for the same command.
type try struct {
	command string
	in      *replay
	stdout  io.Writer
	verbose bool
	mute    bool   // ssh must not ask
	entered func() // is called at the command's first word; nil: nobody
}

func (t try) unasked(entered func()) *try {
	t.mute, t.entered = true, entered
	return &t
}

func (t try) asking(entered func()) *try {
	t.mute, t.entered = false, entered
	return &t
}
