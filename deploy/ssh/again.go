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
)

// sshd drops connections before it knows whose they are: at random when many are
// not authenticated yet (MaxStartups), all that come from an address which has
// misbehaved (PerSourcePenalties), and above a number from one address
// (PerSourceMaxStartups). Those who ask 8 hosts behind one bastion see it when they
// are not alone there. It tells the client in a line before its version, which ssh
// shows with -v alone (sshd.c, should_drop_connection; kex.c,
// kex_exchange_identification); older ones tell nothing.

// early are ssh's words for it. UNKNOWN is the end of a connection that another ssh
// carries (ProxyJump).
var early = lazyregexp.New(`^(` + strings.Join([]string{
	`(kex|ssh)_exchange_identification: .*([Cc]losed|[Rr]eset|[Bb]roken).*`,
	`banner exchange: Connection to \S+ port \d+: (Connection reset by peer|Broken pipe)`,
	`Connection (closed|reset) by \S+ port \d+`,
	`ssh_dispatch_run_fatal: Connection to \S+ port \d+: (Connection reset by peer|Broken pipe)`,
}, "|") + `)\.?$`)

// closedEarly reports whether the connection was closed before authentication, so
// that nothing of the command has run.
func (a *attempt) closedEarly() bool {
	return a.err == nil && a.code == ownFault && !a.heard && !a.said.authenticated &&
		slices.ContainsFunc(a.said.lines(), early().MatchString)
}

// attempts are those to reach one host.
type attempts struct {
	limit time.Duration
	begun time.Time
	n     int
	words string // sshd's own, "" where it had none
	noted bool
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

// pause waits before the next attempt, longer each time, and for no round number:
// others may be waiting too. It reports false where no time is left for one.
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

// why tells the settings of sshd_config(5) that make it do so.
func (t *attempts) why() string {
	switch {
	case t.words == "":
		return " (MaxStartups or PerSourcePenalties of an sshd, as a rule)"
	case strings.Contains(t.words, "Not allowed at this time"):
		return fmt.Sprintf(" (sshd said %q: MaxStartups or PerSourcePenalties)", t.words) // from OpenSSH 10 on of either
	}
	return fmt.Sprintf(" (sshd said %q)", t.words)
}

// err is the error when there was no connection to the end.
func (t *attempts) err(c *Client, said *hearing) error {
	why := said.last()
	if t.n > 1 {
		why = fmt.Sprintf("%s, %d times in %v", why, t.n, time.Since(t.begun).Round(100*time.Millisecond))
	}
	hint := fmt.Sprintf("ssh -v %s true; if many connect there, fewer at once (-j); for longer: --timeout %v",
		word(c.dest()), 4*c.Limit)
	return fault.WrapHost(unreachable("closed before authentication"+t.why()+": "+why), "cannot reach host", c.Host, hint)
}
