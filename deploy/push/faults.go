package push

import (
	"errors"
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
	if err = c.Cause(err, sshErr, c.sent); c.sent {
		return c.lost(err)
	}
	return c.Explain(err, "wgkeys push "+c.host)
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

// lacking is the error of a host without a command.
func (c *conn) lacking(command ssh.LackError) error {
	if command == "wg" {
		return fault.NewHost("no way to check keys on host", c.host, "neither wg nor wgkeys is installed there",
			"wgkeys install "+c.host+", or on "+c.host+": apt install wireguard-tools")
	}
	return fault.WrapHost(command, "no way to install files on host", c.host, "")
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
