package ssh

import (
	"errors"
	"fmt"
	"strings"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// NoSudo is the reason of a [Refusal] where there is no sudo. A script says "sudo: " before it.
const NoSudo = "it is not installed"

// SudoSaid returns why sudo has not run its command, by the standard error of an
// [ExitError]: that ends with sudo's own words. Earlier lines of sudo's are warnings, as of a
// host name that does not resolve, with which it runs the command.
func SudoSaid(stderr string) (why string, refused bool) {
	last := stderr
	if at := strings.LastIndex(stderr, "; "); at >= 0 {
		last = stderr[at+2:]
	}
	if strings.HasPrefix(last, "Sorry, user ") { // sudoers(5) allows other commands only
		return last, true
	}
	return strings.CutPrefix(last, "sudo: ")
}

// A Refusal is a host on which the user cannot become root.
type Refusal struct {
	Host  string
	User  string // "": not known
	Why   string // by [SudoSaid]
	Other string // another reason, where sudo has given none
	Less  SudoRule
	Local bool // it is this machine
}

// A SudoRule is a command that root's rights would do for, in place of all. None: only all do.
type SudoRule struct{ For, Command string }

// in is a rule for a user in sudoers(5).
func (r SudoRule) in(user string) string {
	if r.Command == "" {
		return ""
	}
	return "; for " + r.For + ": " + user + " ALL=(root) NOPASSWD: " + r.Command
}

// Err returns the error for the user.
func (r Refusal) Err() error {
	who, user := "the user", "USER"
	if r.User != "" {
		who, user = fmt.Sprintf("user %q", r.User), r.User
	}
	why := "sudo says: " + r.Why
	all := "visudo -f /etc/sudoers.d/wgkeys, and add: " + user + " ALL=(root) NOPASSWD: ALL"
	hint := "on " + r.Host + ": " + all + r.Less.in(user)
	switch {
	case r.Other != "":
		why = r.Other
	case r.Why == NoSudo:
		why = "there is no sudo"
		hint = "name root in the tunnel file, under [hosts." + r.Host + "]: ssh = \"root@ADDRESS\"; or on " + r.Host +
			", as root: install sudo, then " + all
	case strings.Contains(r.Why, "tty"): // requiretty in sudoers(5)
		hint = "on " + r.Host + ": " + all + ", and below it: Defaults:" + user + " !requiretty"
	}
	if r.Local {
		hint = fault.AsRoot + "; if root lacks your ssh keys, " + hint
	}
	return fault.NewHost("cannot become root on host", r.Host, who+" is not root there, and "+why, hint)
}

// Instead says what a host has said instead of what was waited for, until it ended with err
// or was given up.
func Instead(noise string, err error) error {
	if errors.Is(err, ErrSilent) {
		return fmt.Errorf("it said %q, and does not begin in time", noise)
	}
	return fmt.Errorf("it said %q", noise)
}

// NoShell is the error of a host on which the command did not run: the login shell runs none,
// or another one in its place.
func NoShell(host, dest string, why error) error {
	hint := ""
	if dest != "" {
		hint = "ssh " + words.ForShell(dest) + " echo works; if that word does not come, the login shell runs no command " +
			"(chsh -s /bin/sh there), or ForceCommand in sshd_config or command= in authorized_keys runs another one; " +
			"or name another user with ssh ="
	}
	return fault.WrapHost(why, "no shell to work with on host", host, hint)
}
