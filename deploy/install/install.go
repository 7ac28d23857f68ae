// Package install puts this program on a host that has only sshd and sh.
//
// Everything is done over one connection. The host says what machine it is and which
// program it has; where that is another one, the program for its architecture travels on
// standard input, is compared by its hash, run once there, and put in the place of the one
// before: at every moment there is one or the other, and what runs goes on.
package install

import (
	"context"
	"fmt"
	"strings"

	"wgkeys/deploy/ssh"
	"wgkeys/keyring/fault"
)

// Place is where the program goes on every host, but for one where a package has it.
const Place = "/usr/local/bin/wgkeys"

// PackagePlace is where a package has it.
const PackagePlace = "/usr/bin/wgkeys"

// An Action is what became of the program on a host, or what would in a dry run.
type Action string

const (
	Unchanged Action = "unchanged"
	Installed Action = "installed" // the host had none
	Replaced  Action = "replaced"  // it had another one
)

// A Result tells what became of the program on a host.
type Result struct {
	Action  Action
	Arch    Arch
	Was     string // what the one before says of its version
	Version string // what the present one says
	// Packaged: it is a package's, which is left to the host's package manager.
	Packaged bool
	First    string // a wgkeys that the host's PATH finds before it; "": none
}

// place is where the program is.
func (r Result) place() string {
	if r.Packaged {
		return PackagePlace
	}
	return Place
}

// Options are how a program is installed.
type Options struct {
	// Program is the one for an architecture. It is called once the host has said what
	// it is, and may take its time.
	Program func(ctx context.Context, arch Arch) (*Program, error)
	DryRun  bool
	Others  bool // a program of that name that is not wgkeys is replaced too
	// What --version of this program says. One that is newer stays, but for a downgrade.
	Version   string
	Downgrade bool
	// Sent hears how much of it is on its way, in bytes; nil: nobody does.
	Sent func(done, all int)
}

// Host has the program on a host.
func Host(ctx context.Context, r ssh.Runner, host string, o Options) (Result, error) {
	c := dial(ctx, r, host, o)
	err := c.install(ctx)
	err = c.explain(err, c.hangUp(err))
	return c.result, err
}

// install is the whole conversation. Its error is what broke it off.
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

// leave leaves the host the program that it has.
func (c *conn) leave() error {
	c.result.Action, c.result.Version = Unchanged, c.result.Was
	c.session.Stdin.Close()
	c.first()
	return nil
}
