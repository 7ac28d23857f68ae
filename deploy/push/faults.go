package push

import (
	"errors"
	"fmt"
	"path"
	"slices"
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
	if err = ssh.Cause(err, sshErr); err == nil {
		err = c.ended(sshErr)
	}
	switch {
	case c.sent:
		return c.lost(err)
	case !c.greeted && c.user == "" && c.noise != "" && errors.Is(err, ssh.ErrSilent):
		return c.unheard(err)
	case errors.As(err, &known):
		return err
	case !c.greeted:
		return c.unheard(err)
	}
	return fault.WrapHost(err, "lost host", c.host, "wgkeys push "+c.host)
}

// An endedError is a connection that ended before the conversation did.
type endedError struct {
	exit *ssh.ExitError // of the host's command; nil if that is not known
	sent bool           // secrets were sent: the command may have echoed them
}

// ended returns that error; err is that of the command.
func (c *conn) ended(err error) *endedError {
	e := &endedError{sent: c.sent}
	errors.As(err, &e.exit)
	return e
}

// Error repeats nothing that the command said after secrets were sent.
func (e *endedError) Error() string {
	switch {
	case e.exit == nil:
		return "the connection ended"
	case e.sent:
		return fmt.Sprintf("the connection ended (exit status %d)", e.exit.Code)
	}
	return "the connection ended: " + e.exit.Error()
}

// lost says which files are certain and which are not.
func (c *conn) lost(err error) error {
	var certain, open []string
	for _, r := range c.results {
		certain = append(certain, r.Path)
	}
	for _, j := range c.pending {
		if j.Action == Unchanged {
			certain = append(certain, j.File.Path)
		} else {
			open = append(open, j.File.Path)
		}
	}
	why := "not certain: " + strings.Join(open, ", ")
	if len(certain) > 0 {
		why += "; certain: " + strings.Join(certain, ", ")
	}
	return &fault.Fault{What: "lost host", Host: c.host, Why: why, Hint: "wgkeys push " + c.host, Err: err}
}

// unheard is the error for a host that never came to the first line of the
// protocol.
func (c *conn) unheard(err error) error {
	switch {
	case c.user != "":
		return c.noRoot(err)
	case c.noise != "":
		err = ssh.Instead(quiet(c.noise), err)
	}
	return ssh.NoShell(c.host, c.dest, err)
}

func (c *conn) noRoot(err error) error {
	r := ssh.Refusal{Host: c.host, User: c.user, Other: err.Error(), Local: c.local,
		Less: "; for push alone, where wgkeys is installed: " + c.user +
			" ALL=(root) NOPASSWD: /usr/local/bin/wgkeys receive"}
	if ended, ok := errors.AsType[*endedError](err); ok && ended.exit != nil {
		if why, refused := ssh.SudoSaid(ended.exit.Stderr); refused {
			r.Why, r.Other = why, ""
		}
	}
	return r.Err()
}

// lacking is the error for a command that the host does not have.
func (c *conn) lacking(command string) error {
	switch command {
	case "wg":
		return fault.NewHost("no way to check keys on host", c.host, "neither wg nor wgkeys is installed there",
			"wgkeys install "+c.host+", or on "+c.host+": apt install wireguard-tools")
	case "sudo":
		return ssh.Refusal{Host: c.host, User: c.user, Why: ssh.NoSudo, Local: c.local}.Err()
	}
	return fault.NewHost("no way to install files on host", c.host, fmt.Sprintf("there is no command %q", command), "")
}

func (c *conn) notInstalled(f File, why string) error {
	name := words.ForShell(f.Path)
	elsewhere := "in the tunnel file: private_key_file = \"/etc/wireguard/NAME.key\""
	aside := "on " + c.host + ": mv " + name + " " + name + ".old, then wgkeys push " + c.host
	hint := ""
	switch {
	case why == notNamed, why == notKey && !named(f.Path): // the host may need that file
		hint = elsewhere
	case why == notKey:
		hint = "look at it on " + c.host + "; if nobody needs it: rm " + name + "; else name another private_key_file"
	case slices.Contains(notFile, why):
		hint = "look at it; if nobody needs it so: " + aside + "; else " + elsewhere
	case why == changed:
		hint = "wgkeys push " + c.host
	case strings.HasPrefix(why, othersChange):
		hint = "on " + c.host + ": namei -l " + name +
			" shows whose each folder is; chown root: and chmod go-w the one that others can change"
	default:
		hint = "on " + c.host + ": " + lookAt(f.Path, why)
	}
	return fault.NewHost("cannot install "+f.Path+" on host", c.host, why, hint)
}

// lookAt is the command that shows why a file could not be written.
func lookAt(file, why string) string {
	both := words.ForShell(file) + " " + words.ForShell(path.Dir(file))
	why = strings.ToLower(why)
	switch {
	case strings.Contains(why, "no space left"):
		return "df -h; df -i"
	case strings.Contains(why, "read-only file system"):
		return "findmnt -O ro; or in the tunnel file: private_key_file = \"/FOLDER/NAME.key\""
	case strings.Contains(why, "operation not permitted"): // chattr(1)
		return "lsattr -d " + both
	}
	return "ls -ld " + both
}

// notFile are a host's reasons for a path where there is something else than a file.
var notFile = []string{"is a symbolic link", "is a directory", "is no regular file"}

// changed is the host's reason if the key in a file is not the one that it has reported.
const changed = "was changed by somebody else meanwhile"

// othersChange begins the host's reason not to write into a folder.
const othersChange = "others than root can change the folder "

// named reports whether a path is the name of a key file: NAME.key, NAME.psk, or any name
// without a dot in a folder "wireguard".
func named(file string) bool {
	switch path.Ext(file) {
	case ".key", ".psk":
		return true
	case "":
		return path.Base(path.Dir(file)) == "wireguard"
	}
	return false
}

const notNamed = "is not named as a key file: NAME.key, NAME.psk, or in a folder wireguard"
