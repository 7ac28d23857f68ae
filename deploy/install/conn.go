package install

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
)

//go:embed root.sh
var rootScript string

//go:embed put.sh
var putScript string

// command is the same for every host: what differs is sent on standard input.
var command = sync.OnceValue(func() string {
	return ssh.ScriptCommand("wgkeys-install", rootScript, putScript)
})

// The protocol, one line each:
//
//	host                                  controller
//	as USER                                                  not root: sudo is tried next
//	lack COMMAND                                             the host cannot go on
//	wgkeys-install 1 SYSTEM MACHINE                          as uname says
//	none | has SHA256 VERSION | package SHA256 VERSION | deny WHY
//	                                      VERSION: as wgkeys --version says
//	                                      put SHA256, then the program, to the end of the input
//	done VERSION | fail REASON
//	first PATH                                               another wgkeys precedes it in PATH
//
// A controller that has nothing to send closes its side.
const (
	greeting = "wgkeys-install 1 "

	maxLine = 1 << 10

	// patience is how long a host may take for one answer, or for a piece of the program. A
	// sync to a failing disk may take long.
	patience = 90 * time.Second
	piece    = 64 << 10 // bytes
)

// A conn is the controller's end of one conversation.
type conn struct {
	*ssh.Dialogue
	host    string
	o       Options
	sent    bool // sending the program has begun
	sending sync.WaitGroup

	answered bool // the host has reported the outcome

	result Result
}

func dial(ctx context.Context, r ssh.Runner, host string, o Options) *conn {
	return &conn{Dialogue: ssh.Dial(ctx, r, host, command(), patience, maxLine), host: host, o: o}
}

// line returns the host's next line, printable.
func (c *conn) line() (string, error) {
	line, err := c.Line()
	return ssh.Printable(line), err
}

// hello reads up to the host's greeting and returns the output of uname there.
func (c *conn) hello() (machine string, err error) {
	err = c.Greet(func(line string) (found bool) {
		machine, found = strings.CutPrefix(ssh.Printable(line), greeting)
		return found
	}, nil)
	if lack, ok := errors.AsType[ssh.LackError](err); ok {
		err = fault.WrapHost(lack, "cannot install wgkeys on host", c.host, "")
	}
	return machine, err
}

// has reads which program the host has, and returns its SHA-256: "" if there is none.
func (c *conn) has() (sum string, err error) {
	line, err := c.line()
	if err != nil {
		return "", err
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "none":
		return "", nil
	case "has", "package":
		c.result.Packaged = verb == "package"
		sum, c.result.Was, _ = strings.Cut(rest, " ")
		return sum, nil
	case "deny":
		return "", fault.NewHost("cannot install wgkeys on host", c.host, rest, hintFor(c.host, rest))
	}
	return "", unknown(line)
}

// put sends the program and reads the outcome. A host that cannot go on answers before it
// has read all of it, and reads no more.
func (c *conn) put(p *Program) error {
	c.sent = true
	c.sending.Go(func() { c.send(p) })
	line, err := c.answer()
	if err != nil {
		return err
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "done":
		c.result.Version = rest
	case "fail":
		c.answered = true
		if rest == "" {
			rest = "the host gives no reason"
		}
		why := strings.ToLower(rest[:1]) + rest[1:]
		return fault.NewHost("cannot install wgkeys on host", c.host, why, hintFor(c.host, why))
	default:
		return unknown(line)
	}
	c.first()
	return nil
}

// first reads whether another wgkeys comes first in the host's PATH.
func (c *conn) first() {
	if line, err := c.line(); err == nil {
		if first, ok := strings.CutPrefix(line, "first "); ok {
			c.result.First = first
		}
	}
}

// answer reads the outcome. There is no limit for it while the program is being sent: send
// has its own for each piece.
func (c *conn) answer() (string, error) {
	line, err := c.LineUntimed()
	c.Patience.End()
	return ssh.Printable(line), err
}

// send writes the program piece by piece. A host that does not read is given up like one
// that does not answer.
func (c *conn) send(p *Program) {
	defer c.Stdin.Close()
	c.Patience.Begin()
	if _, err := fmt.Fprintf(c.Stdin, "put %s\n", p.sum); err != nil {
		return
	}
	for at := 0; at < len(p.text); {
		c.Patience.Begin()
		n, err := c.Stdin.Write(p.text[at:min(at+piece, len(p.text))])
		at += n
		if c.o.Sent != nil {
			c.o.Sent(at, len(p.text))
		}
		if err != nil {
			return
		}
	}
	c.Patience.Begin()
}

// hangUp ends the conversation and returns the error of the Runner.
func (c *conn) hangUp(err error) error {
	if c.answered {
		err = nil // it is the host's own, and nothing is wrong with the connection
	}
	defer c.sending.Wait() // its input is closed by then
	return c.HangUp(err)
}

func unknown(line string) error {
	return fmt.Errorf("%q is no answer of the protocol", line[:min(len(line), 60)])
}
