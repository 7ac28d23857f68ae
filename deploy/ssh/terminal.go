package ssh

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wgkeys/keyring/lazyregexp"
)

// A Terminal is where ssh asks the user for a passphrase, or whether a host key is the right
// one. The clients of several hosts share it, so that only one question is on it at a time:
// otherwise nobody knows to which of them an answer goes.
//
// A client with a Terminal first connects without asking. Only where that is refused does it
// wait for its turn, and connect again with questions.
type Terminal struct {
	yield    func() (back func())
	ended    <-chan struct{}
	free     chan struct{} // holds a token while no ssh may ask
	answered atomic.Int64  // how often ssh got in after it was allowed to ask
}

// NewTerminal returns a Terminal. While ssh may ask nobody else writes there: yield is called
// before, and the function that it returns after. Once ended is closed nothing more is asked.
func NewTerminal(yield func() (back func()), ended <-chan struct{}) *Terminal {
	t := &Terminal{yield: yield, ended: ended, free: make(chan struct{}, 1)}
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
	case <-t.ended:
		return nil, false
	}
	release = sync.OnceFunc(func() { t.free <- struct{}{} })
	select {
	case <-t.ended: // that was closed while others asked
		release()
		return nil, false
	default:
		return release, true
	}
}

// mayAnswer matches ssh's last words where a user could have answered a question: about a key's
// passphrase, a password, or a host key that is unknown. Those of an ssh to a host on the way
// (ProxyJump) are not the last.
var mayAnswer = lazyregexp.New(`: Permission denied \([a-z0-9,-]+\)\.?$|^Host key verification failed`)

// changedKey is in ssh's warning of a host key that is not the known one, after which it asks
// nothing.
const changedKey = "REMOTE HOST IDENTIFICATION HAS CHANGED"

// refusedUnasked reports whether the connection was refused, and might not be if ssh could ask.
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
	back := sync.OnceFunc(c.Terminal.yield())
	defer back()
	a = c.attempt(ctx, t.asking(func() {
		c.Terminal.answered.Add(1)
		back()
		release()
	}))
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

// neverAnswers is the environment in which no question of ssh is answered, not even one of an
// ssh to a host on the way, which does not get BatchMode from its parent. A program of the
// user's own that asks, in SSH_ASKPASS, is left alone: it also says when a hardware key is to
// be touched.
func neverAnswers() []string {
	if os.Getenv("SSH_ASKPASS") != "" {
		return nil
	}
	return append(os.Environ(), "SSH_ASKPASS=false", "SSH_ASKPASS_REQUIRE=force")
}
