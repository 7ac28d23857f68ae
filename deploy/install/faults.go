package install

import (
	"errors"
	"fmt"
	"path"
	"strings"

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
	if err = c.Cause(err, sshErr, false); c.sent {
		return &fault.Fault{What: "lost host", Host: c.host, Err: err, Hint: "wgkeys install " + c.host,
			Why: "it has the program that it had, or the new one whole"}
	}
	return c.Explain(err, "wgkeys install "+c.host)
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
