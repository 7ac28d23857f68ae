package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// patience is how long a host that has said hello may take for one answer. A failing disk
// can make an fsync last.
const patience = 90 * time.Second

// A conn is the controller's end of one conversation.
type conn struct {
	*ssh.Dialogue
	host    string
	asked   chan struct{} // closed when all questions were sent
	machine string        // what the host says of which machine it is; "": nothing
	sent    bool          // secrets were sent

	results []Result // what is certain
	failed  []error  // files that the host refused
	pending []job    // files whose outcome is not known yet
}

func dial(ctx context.Context, r ssh.Runner, host string) *conn {
	d := ssh.Dial(ctx, r, host, command(), patience, maxLine)
	d.Less = ssh.SudoRule{For: "push alone, where wgkeys is installed", Command: "/usr/local/bin/wgkeys receive"}
	return &conn{Dialogue: d, host: host, asked: make(chan struct{})}
}

// write sends b. A host that does not read is given up like one that does not answer.
func (c *conn) write(b []byte) error {
	defer c.Patience.Begin()()
	<-c.asked
	_, err := c.Stdin.Write(b)
	return err
}

// hello asks about all files at once and reads up to the host's greeting. It does not wait
// until the host has read the questions: if it never does, there are no answers.
func (c *conn) hello(files []File) error {
	go func() {
		defer close(c.asked)
		c.Stdin.Write(asks(files))
	}()
	err := c.Greet(isGreeting, func(line string) bool {
		known := c.machine == "" && isMachine(line)
		if known {
			c.machine = strings.TrimPrefix(line, "machine ")
		}
		return known
	})
	if lack, ok := errors.AsType[ssh.LackError](err); ok {
		return c.lacking(lack)
	}
	return err
}

// isGreeting reports whether a line is the first of the protocol. Where sshd itself runs
// wgkeys receive (ForceCommand in sshd_config(5)), it may follow what the login shell's own
// files have printed without a newline.
func isGreeting(line string) bool {
	return strings.HasSuffix(line, fmt.Sprintf("wgkeys %d plain", Protocol)) ||
		strings.HasSuffix(line, fmt.Sprintf("wgkeys %d receive", Protocol))
}

// machineLine is that of a machine: the boot's UUID, and the number and the root of the first mount
// in proc_pid_mountinfo(5). No two mounts of a kernel have one number.
var machineLine = lazyregexp.New(`^machine [0-9a-f-]{36} [0-9]+ /[!-~]*$`)

func isMachine(line string) bool { return machineLine().MatchString(line) }

func asks(files []File) []byte {
	var b bytes.Buffer
	for _, f := range files {
		k, _ := kindOf(f.Want)
		fmt.Fprintf(&b, "look %s %s\n", k, f.Path)
	}
	return b.Bytes()
}

// look reads the host's answer about f and decides what to do.
func (c *conn) look(f File) error {
	line, err := c.Line()
	if err != nil {
		return err
	}
	a, err := parseAnswer(line)
	if why := (*refusal)(nil); errors.As(err, &why) {
		c.failed = append(c.failed, c.notInstalled(f, why.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	if c.machine != "" && f.Machine != nil {
		if err := f.Machine(c.machine, a.fingerprint); err != nil {
			return err // its preshared keys would be replaced, too
		}
	}
	j := decide(f, a)
	if j.Action == Replaced && a.fingerprint != "" && f.MayReplace != nil {
		if err := f.MayReplace(a.fingerprint); err != nil {
			c.failed = append(c.failed, err)
			return nil
		}
	}
	c.pending = append(c.pending, j)
	return nil
}

// decide makes the job of f. If the host is already in a rotation, its next key is the one
// that it should have.
func decide(f File, a answer) job {
	r := Result{Path: f.Path, Action: Unchanged, HostOnly: f.HostOnly}
	if a.fingerprint != "" && a.fingerprint == f.Next {
		f.Want, r.Next = f.Next, true
	}
	switch {
	case !a.exists:
		r.Action = Installed
	case a.fingerprint == "":
		r.Action, r.Was = Replaced, NoKey
	case a.fingerprint != f.Want:
		r.Action, r.Was = Replaced, a.fingerprint
	case !a.private():
		r.Action, r.Was = Repaired, a.owner
	}
	return job{f, r}
}

// send opens every secret that is needed, and only then requests the first change: if one
// cannot be opened, the host stays as it is.
func (c *conn) send() error {
	size := 0
	for _, j := range c.pending {
		size += len(j.File.Path) + len(j.Want) + 64
	}
	b := make([]byte, 0, size) // no append moves it and leaves a copy behind
	defer func() { clear(b[:cap(b)]) }()
	for _, j := range c.pending {
		var err error
		if b, err = appendRequest(b, j); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		return nil
	}
	c.sent = true
	return c.write(b)
}

func appendRequest(b []byte, j job) ([]byte, error) {
	k, _ := kindOf(j.Want)
	switch j.Action {
	case Repaired:
		b = fmt.Appendf(b, "mode %s %s\n", k, j.File.Path)
	case Installed, Replaced:
		text, err := secretOf(j.File)
		if err != nil {
			return b, err
		}
		b = fmt.Appendf(b, "put %s %s ", k, j.Want)
		b = append(b, text[:len(text)-1]...)
		b = fmt.Appendf(b, " %s\n", j.File.Path)
		clear(text)
	}
	return b, nil
}

// secretOf opens the secret of f and checks that it is the one that the keyring names.
func secretOf(f File) ([]byte, error) {
	text, err := f.Secret()
	if err != nil {
		clear(text)
		return nil, fault.WrapFile(err, "nothing was installed: no secret for", f.Path, "")
	}
	k, _ := kindOf(f.Want)
	if got, _ := fingerprintOf(k, text); got != f.Want || !wellFormed(text) {
		clear(text)
		return nil, fault.NewFile("nothing was installed: refused the secret for", f.Path,
			"it is not the key that the keyring names", "git log -- vault keyring")
	}
	return text, nil
}

// confirm reads the outcome for each file.
func (c *conn) confirm() error {
	for len(c.pending) > 0 {
		j := c.pending[0]
		if j.Action == Unchanged {
			c.settle(j, nil)
			continue
		}
		line, err := c.Line()
		if err != nil {
			return err
		}
		got, err := parseOutcome(line)
		why := (*refusal)(nil)
		if err != nil && !errors.As(err, &why) {
			return err
		}
		if err == nil && got != j.Want {
			why = refuse("it says that another key is there now: " + got)
		}
		c.settle(j, why)
	}
	return nil
}

// settle removes the first pending job.
func (c *conn) settle(j job, why *refusal) {
	c.pending = c.pending[1:]
	if why != nil {
		c.failed = append(c.failed, c.notInstalled(j.File, why.Error()))
		return
	}
	c.results = append(c.results, j.Result)
}
