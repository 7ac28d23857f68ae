// Package install puts this program on a host that has only sshd and sh.
//
// Everything is done over one connection. The host reports its architecture and which
// program it has. If that is another one, the right program is sent on standard input,
// compared by its hash, run once on the host, and renamed over the previous one: at every
// moment there is one or the other, and running processes are not disturbed.
package install

import (
	"context"
	"fmt"
	"strings"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
)

// Place is the path of the program on every host, unless a package has installed it.
const Place = "/usr/local/bin/wgkeys"

// PackagePlace is the path of a program that a package has installed.
const PackagePlace = "/usr/bin/wgkeys"

// An Action is what was done with the program on a host, or would be in a dry run.
type Action string

const (
	Unchanged Action = "unchanged"
	Installed Action = "installed" // the host had none
	Replaced  Action = "replaced"  // it had another one
)

// A Result is the outcome for one host.
type Result struct {
	Action  Action
	Arch    Arch
	Was     string // output of the previous program's --version; "": there was none
	Version string // output of the present program's --version; "" in a dry run
	// Packaged: the program belongs to a package, and is left to the host's package manager.
	Packaged bool
	First    string // another wgkeys that comes first in the host's PATH; "": none
}

// place is the path of the program.
func (r Result) place() string {
	if r.Packaged {
		return PackagePlace
	}
	return Place
}

// Options say how to install a program.
type Options struct {
	// Program returns the program for an architecture. It is called when the host has
	// reported its own, and may take as long as a build.
	Program   func(ctx context.Context, arch Arch) (*Program, error)
	DryRun    bool   // change nothing
	Others    bool   // also replace a program of that name that is not wgkeys
	Version   string // output of this program's --version: a newer one on the host stays
	Downgrade bool   // also replace a newer one
	// Sent is called with the number of bytes that were sent so far, and that of all; may be
	// nil. It is not called any more when Host has returned.
	Sent func(done, all int)
}

// Host installs the program on one host over one connection, if the host has another one.
// The result is valid as far as it goes even if there is an error.
func Host(ctx context.Context, r ssh.Runner, host string, o Options) (Result, error) {
	c := dial(ctx, r, host, o)
	err := c.install(ctx)
	err = c.explain(err, c.hangUp(err))
	return c.result, err
}

// install is the whole conversation. Its error is what ended it early.
func (c *conn) install(ctx context.Context) error {
	machine, err := c.hello()
	if err != nil {
		return err
	}
	if c.result.Arch, err = archOf(machine); err != nil {
		return fault.NewHost("no program for host", c.host, err.Error(),
			"it may run what is built there of the source: make build && install wgkeys /usr/local/bin/")
	}
	has, err := c.has()
	if err != nil {
		return err
	}
	if has != "" && !c.o.Others && !strings.HasPrefix(c.result.Was, "wgkeys ") {
		return fault.NewHost("cannot install wgkeys on host", c.host,
			fmt.Sprintf("what is at %s is not wgkeys: its --version says %q", c.result.place(), c.result.Was),
			"wgkeys install -y "+c.host)
	}
	if c.result.Packaged {
		return c.leave()
	}
	if Older(c.o.Version, c.result.Was) && !c.o.Downgrade {
		return fault.NewHost("a newer wgkeys is on host", c.host,
			fmt.Sprintf("it has %s, and this machine %s", c.result.Was, c.o.Version),
			"upgrade this machine, or to replace it all the same: wgkeys install --downgrade "+c.host)
	}
	program, err := c.o.Program(ctx, c.result.Arch)
	if err != nil {
		return fault.WrapHost(err, "no program for host", c.host, "")
	}
	switch {
	case has == program.sum:
		return c.leave()
	case has == "":
		c.result.Action = Installed
	default:
		c.result.Action = Replaced
	}
	if c.o.DryRun {
		return nil
	}
	return c.put(program)
}

// leave keeps the program that the host has.
func (c *conn) leave() error {
	c.result.Action, c.result.Version = Unchanged, c.result.Was
	c.Stdin.Close()
	c.first()
	return nil
}
