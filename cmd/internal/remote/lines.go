package remote

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"wgkeys/deploy/rotate"
	"wgkeys/deploy/ssh"
)

// mostLines is how many connections are kept open for the next request, each with an ssh
// process here: further hosts connect again.
const mostLines = 256

// lines are connections to hosts that wait for the next request of a rotation: without them
// a hub's rotation would make three for each peer.
type lines struct {
	mu   sync.Mutex
	idle map[string]*line // by host and tunnel
	n    int              // idle or in use
}

// A line is one of these connections.
type line struct {
	session *ssh.Session
	heard   *hearer
	greeted *greeted
	answers *json.Decoder
}

// take returns the connection to a host, which nobody else uses until put is called, or
// nil.
func (l *lines) take(name string) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.idle[name]
	delete(l.idle, name)
	return c
}

// put keeps a connection for the next request.
func (l *lines) put(name string, c *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle == nil {
		l.idle = map[string]*line{}
	}
	l.idle[name] = c
}

// reserve reports whether one more connection may be kept open.
func (l *lines) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= mostLines {
		return false
	}
	l.n++
	return true
}

// end ends a connection, and returns the error of its command.
func (l *lines) end(c *line) error {
	l.mu.Lock()
	l.n--
	l.mu.Unlock()
	over := time.AfterFunc(parting, func() { c.session.Kill(context.DeadlineExceeded) })
	defer over.Stop()
	return c.session.Wait()
}

// parting is how long a host may take to end when it has nothing more to do.
const parting = 5 * time.Second

// hangUp closes the connections that wait for another request.
func (l *lines) hangUp() {
	l.mu.Lock()
	idle := l.idle
	l.idle = nil
	l.mu.Unlock()
	var group sync.WaitGroup
	for _, c := range idle {
		group.Go(func() { l.end(c) })
	}
	group.Wait()
}

// errLost marks a host that has to be asked over a new connection. It may have done what it
// was asked already; requests are idempotent.
var errLost = errors.New("no connection waits there")

// errUnclear is the error of a host that ended well without a valid answer.
var errUnclear = errors.New("no answer")

// ask asks a host over a connection that waits for a request, or over a new one that dial
// begins and that may wait for the next request.
func (l *lines) ask(ctx context.Context, name string, question []byte, stay bool, limit time.Duration,
	dial func() *ssh.Session) (a rotate.Answer, err error) {
	c := l.take(name)
	fresh := c == nil
	if fresh {
		if !stay || !l.reserve() {
			return a, errLost
		}
		c = newLine(dial())
	}
	err = c.ask(ctx, question, limit, fresh, &a)
	if err == nil && stay && a.Stays {
		l.put(name, c)
		return a, nil
	}
	ended := l.end(c)
	switch {
	case err == nil:
		return a, nil // it does not stay, so only what it said counts
	case !fresh && ctx.Err() == nil:
		return a, errLost
	case errors.Is(err, errTooMuch):
		return a, errTooMuch
	case !c.greeted.found && !c.greeted.begun && unbegun(c.greeted.noise, ended) != nil:
		return a, unbegun(c.greeted.noise, ended)
	case ended != nil:
		return a, ended
	}
	return a, errUnclear
}

func newLine(s *ssh.Session) *line {
	heard := &hearer{r: s.Stdout}
	own := newGreeted(heard)
	return &line{session: s, heard: heard, greeted: own, answers: json.NewDecoder(own)}
}

// ask sends a request and waits for its answer. The connection itself limits the time up to
// a host's first word, since ssh may have to ask the user for a password; from then on the
// caller does. The first word may be the login shell's own, with nothing to follow.
func (c *line) ask(ctx context.Context, question []byte, limit time.Duration, fresh bool, a *rotate.Answer) error {
	stop := context.AfterFunc(ctx, func() { c.session.Kill(context.Cause(ctx)) })
	defer stop()
	patience := c.session.AnswerLimit(limit)
	defer patience.End()
	if !fresh {
		patience.Heard()
	}
	c.heard.begin(patience.Heard)
	sent := make(chan error, 1)
	go func() { // the host speaks first, and may not read
		_, err := c.session.Stdin.Write(question)
		sent <- err
	}()
	if err := c.answers.Decode(a); err != nil {
		return err // the end of the session ends the sending
	}
	return <-sent
}

// A hearer reads an answer of limited length, and reports when something arrives.
type hearer struct {
	r    io.Reader
	left int
	came func()
}

func (h *hearer) begin(came func()) { h.left, h.came = maxAnswer, came }

func (h *hearer) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.came()
	if h.left -= n; h.left < 0 {
		return 0, errors.Join(errTooMuch, err)
	}
	return n, err
}
