package main

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// The way to a host, and how long it is waited for. It is the same for every verb.

const (
	defaultTimeout = 30 * time.Second
	defaultJobs    = 8 // sshd lets 10 in at once that are not authenticated (MaxStartups)
)

var timeoutFlag = &cli.DurationFlag{Name: "timeout", Usage: "wait no longer than `DURATION` for a host that says nothing", Value: defaultTimeout}

// timeout is how long a host may say nothing.
func (e *env) timeout() time.Duration {
	if d := e.cli.Duration("timeout"); d > 0 {
		return d
	}
	return defaultTimeout
}

func checkTimeout(c *cli.Context) error {
	if c.IsSet("timeout") && c.Duration("timeout") < time.Second {
		verb := "wgkeys " + c.Command.Name
		return ui.Usage("too short a --timeout for", verb, "no host answers in less than a second", verb+" --timeout 30s")
	}
	return nil
}

// runner is how commands reach a host: directly where it is this machine, over
// ssh elsewhere.
func (e *env) runner(t *tunnel.Tunnel, host string) ssh.Runner {
	if e.isHere(t, host) {
		return ssh.Local{Limit: e.timeout()}
	}
	dest, _ := t.SSH(host)
	return &ssh.Client{
		Host: host, Dest: dest,
		Batch:          e.batch || !term.IsTerminal(int(os.Stdin.Fd())),
		Limit:          e.timeout(),
		ConnectTimeout: e.timeout() - time.Second, // ssh tells more of what it waits for than we can
		Note:           func(text string) { e.ui.Say("%s: %s", host, text) },
		Remark:         func(lines []string) { e.remark(host, lines) },
	}
}

// remarks are what has been told of what ssh remarks about its connections: a
// command may have several to one host.
type remarks struct {
	mu   sync.Mutex
	told map[string]bool // by host
}

// remark tells it once a host.
func (e *env) remark(host string, lines []string) {
	r := e.remarks
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[host] {
		return
	}
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[host] = true
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(l, "** "), "WARNING: "), ".")
	}
	e.ui.Warn(fault.New("ssh warns of the connection to", host, strings.Join(lines, "; "), ""))
}

// shortName is this machine's name without its domain.
func shortName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.Wrap(err, "cannot tell this machine's name", "", "name it with --host HOST")
	}
	short, _, _ := strings.Cut(name, ".")
	return strings.ToLower(short), nil
}

// isHere reports whether a host of t that was named is this machine: the one
// that --host names or, without it, the one of its short name, unless the
// tunnel file sends elsewhere with ssh =.
func (e *env) isHere(t *tunnel.Tunnel, host string) bool {
	if named := e.cli.String("host"); named != "" {
		return host == named
	}
	_, elsewhere := t.SSH(host)
	short, err := shortName()
	return err == nil && host == short && !elsewhere
}
