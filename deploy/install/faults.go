package install

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// explain translates the error that ended the conversation for the user. If ssh failed, the
// end of the conversation is only a symptom.
func (c *conn) explain(err, sshErr error) error {
	var known *fault.Fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	err = causeOf(err, sshErr)
	switch {
	case c.sent:
		return &fault.Fault{What: "lost host", Host: c.host, Err: err, Hint: "wgkeys install " + c.host,
			Why: "it has the program that it had, or the new one whole"}
	case !c.greeted && c.user == "" && c.noise != "" && errors.Is(err, ssh.ErrSilent):
		return c.unheard(err)
	case errors.As(err, &known):
		return err
	case c.greeted:
		return fault.WrapHost(err, "lost host", c.host, "wgkeys install "+c.host)
	}
	return c.unheard(err)
}

// causeOf returns the reason why the conversation ended: err is what was seen of it, sshErr
// is the error of ssh.
func causeOf(err, sshErr error) error {
	exit := (*ssh.ExitError)(nil)
	if cause := ssh.Cause(err, sshErr); cause != nil {
		return cause
	}
	if errors.As(sshErr, &exit) {
		return fmt.Errorf("the connection ended: %w", exit)
	}
	return errors.New("the connection ended")
}

// unheard is the error for a host that never came to the first line of the protocol.
func (c *conn) unheard(err error) error {
	switch {
	case c.user != "":
		return c.noRoot(err)
	case c.noise != "":
		err = ssh.Instead(c.noise, err)
	}
	return ssh.NoShell(c.host, c.dest, err)
}

func (c *conn) noRoot(err error) error {
	r := ssh.Refusal{Host: c.host, User: c.user, Other: err.Error(), Local: c.local}
	if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
		r.Other = exit.Error()
		if why, refused := ssh.SudoSaid(exit.Stderr); refused {
			r.Why, r.Other = why, ""
		}
	}
	return r.Err()
}

// lacking is the error for a command that the host does not have.
func (c *conn) lacking(command string) error {
	if command == "sudo" {
		return ssh.Refusal{Host: c.host, User: c.user, Why: ssh.NoSudo, Local: c.local}.Err()
	}
	return fault.NewHost("cannot install wgkeys on host", c.host, fmt.Sprintf("there is no command %q", command), "")
}

// hintFor is the hint for a known reason of the host; "" for others.
func hintFor(host, why string) string {
	folder := path.Dir(Place)
	there, _, _ := strings.Cut(why, " ")
	switch {
	case strings.Contains(why, "no space left"):
		return "on " + host + ": df -h " + folder
	case strings.Contains(why, "read-only"):
		return "on " + host + ": findmnt -T " + folder
	case strings.Contains(why, "does not run there") && strings.HasSuffix(strings.ToLower(why), "permission denied"):
		return "on " + host + ": findmnt -T " + folder + "; where it has noexec: mount -o remount,exec TARGET"
	case why == there+" is a directory", why == there+" is not a folder":
		return fmt.Sprintf("look at it; if nobody needs it so: on %s: mv %s %[2]s.old, then wgkeys install %[1]s", host,
			words.ForShell(there))
	}
	return ""
}
