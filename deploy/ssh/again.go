package ssh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// sshd drops connections before authentication: at random if many are not authenticated yet
// (MaxStartups), all from an address that has misbehaved (PerSourcePenalties), and those
// above a limit for one address (PerSourceMaxStartups). That happens to users who ask 8
// hosts behind a busy bastion. A newer sshd gives the reason in a line before its version,
// which ssh shows only with -v (should_drop_connection in sshd.c, and
// kex_exchange_identification in kex.c). Such a connection is tried again.

// early matches the messages of ssh about it. The address is UNKNOWN if the connection goes
// through another ssh (ProxyJump).
var early = lazyregexp.New(`^(` + strings.Join([]string{
	`(kex|ssh)_exchange_identification: .*([Cc]losed|[Rr]eset|[Bb]roken).*`,
	`banner exchange: Connection to \S+ port \d+: (Connection reset by peer|Broken pipe)`,
	`Connection (closed|reset) by \S+ port \d+`,
	`ssh_dispatch_run_fatal: Connection to \S+ port \d+: (Connection reset by peer|Broken pipe)`,
}, "|") + `)\.?$`)

// onTheWay matches the reason of another ssh, that to a host on the way (ProxyJump), which
// another attempt would give again.
var onTheWay = lazyregexp.New(`^ssh: |: Permission denied \([a-z0-9,-]+\)\.?$|^Host key verification failed|` +
	`^channel [0-9]+: open failed: `)

// closedEarly reports whether the connection was closed before authentication: then the
// command has not run.
func (a *attempt) closedEarly() bool {
	return a.err == nil && a.code == ownFault && !a.heard && !a.said.authenticated && a.said.onTheWay() == "" &&
		slices.ContainsFunc(a.said.lines(), early().MatchString)
}

// onTheWay returns the reason of an ssh to a host on the way, if the connection was closed
// after that; "": there is none.
func (t *tail) onTheWay() (why string) {
	for _, line := range t.lines() {
		switch {
		case onTheWay().MatchString(line):
			why = strings.TrimSuffix(line, ".")
		case why != "" && early().MatchString(line):
			return "on the way there: " + why
		}
	}
	return ""
}

// attempts counts the attempts to reach one host.
type attempts struct {
	limit time.Duration // how long to try
	begun time.Time
	n     int
	words string // the reason that sshd gave; "": none
	noted bool   // the user was told
}

func (t *attempts) count(said *hearing) {
	t.n++
	if said.beforeBanner != "" {
		t.words = said.beforeBanner
	}
}

const (
	firstPause = 300 * time.Millisecond
	lastPause  = 8 * time.Second
)

// pause waits before the next attempt: longer each time, and for a random part of that,
// since others may be waiting too. It reports false if no time is left for an attempt.
func (t *attempts) pause(ctx context.Context, c *Client) bool {
	pause := min(firstPause<<min(t.n-1, 10), lastPause)
	pause = pause/2 + rand.N(pause)
	if time.Since(t.begun)+pause > t.limit {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
		return false
	}
	if c.Note != nil && !t.noted && (t.n > 1 || pause > time.Second) {
		c.Note("the connection was closed before authentication" + t.why() + "; trying again")
		t.noted = true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// why names the settings of sshd_config(5) that are the likely cause.
func (t *attempts) why() string {
	switch {
	case t.words == "":
		return " (MaxStartups or PerSourcePenalties of an sshd, as a rule)"
	case strings.Contains(t.words, "Not allowed at this time"):
		return fmt.Sprintf(" (sshd said %q: MaxStartups or PerSourcePenalties)", t.words) // since OpenSSH 10 both say so
	}
	return fmt.Sprintf(" (sshd said %q)", t.words)
}

// err is the error after the last attempt.
func (t *attempts) err(c *Client, said *hearing) error {
	why := said.last()
	if t.n > 1 {
		why = fmt.Sprintf("%s, %d times in %v", why, t.n, time.Since(t.begun).Round(100*time.Millisecond))
	}
	hint := fmt.Sprintf("ssh -v %s true; if many connect there, fewer at once (-j); for longer: --timeout %v",
		words.ForShell(c.dest()), 4*c.Limit)
	return fault.WrapHost(unreachable("closed before authentication"+t.why()+": "+why), "cannot reach host", c.Host, hint)
}
