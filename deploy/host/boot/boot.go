// Package boot has this host bring its tunnels up when it starts: by units of systemd, a
// script of OpenRC's, or a hook of ifupdown's. Each applies the views that apply kept, and
// needs no repository.
package boot

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

//go:embed files
var embedded embed.FS

// Where the program may be.
const (
	place    = "/usr/local/bin/wgkeys" // where install puts it
	packaged = "/usr/bin/wgkeys"       // where a package has it
)

// Program is where all of them look for the program. One that install has put there
// precedes that of a package, as it does in PATH.
func Program() string {
	if Packaged() {
		return packaged
	}
	return place
}

// Packaged reports whether this host has the program of a package, which brings what
// starts it and is upgraded and removed by the host's package manager.
func Packaged() bool { return !exists(place) && exists(packaged) }

// A System is what starts this host's services.
type System string

const (
	Systemd  System = "systemd"
	OpenRC   System = "OpenRC"
	Ifupdown System = "ifupdown" // which starts no services, and calls hooks
	None     System = ""         // nothing that is known
)

// Where each has its files. Those of folders are there before anything of ours.
const (
	units   = "/etc/systemd/system"
	shipped = "/usr/lib/systemd/system" // a package's
	openrc  = "/etc/init.d/wgkeys"
	hook    = "/etc/network/if-up.d/wgkeys"
	runtime = "/run/systemd/system" // sd_booted(3)
)

// Find tells what starts the services of this host. Debian's ifupdown alone calls its
// hooks at the end of ifup -a, as it has a folder for them.
func Find() System {
	switch {
	case exists(runtime):
		return Systemd
	case exists("/sbin/openrc-run", "/usr/sbin/openrc-run") && exists("/sbin/rc-update", "/usr/sbin/rc-update"):
		return OpenRC
	case exists("/etc/network/if-up.d") && exists("/sbin/ifup", "/usr/sbin/ifup"):
		return Ifupdown
	}
	return None
}

func exists(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

func lexists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A File is one that is there for the next start.
type File struct {
	Path string
	Text []byte
	Mode fs.FileMode
}

// Files are those of s, and those that have network managers leave the interfaces alone
// from the next start on. A manager that starts at the same moment as apply may have read
// its files before apply writes those below /run, and see the interface before it can be
// told.
func (s System) Files(views []*tunnel.View) []File {
	files := s.own()
	for _, v := range views {
		for _, f := range services.UnmanagedAtBoot(v.Tunnel) {
			files = append(files, File{f.Path, f.Text, 0o644})
		}
	}
	return files
}

// own are the files of s.
func (s System) own() []File {
	switch s {
	case Systemd:
		var all []File
		if Packaged() && exists(filepath.Join(shipped, unitNames[0]+"@.service")) {
			return nil
		}
		for _, name := range unitNames {
			all = append(all, File{filepath.Join(units, name+"@.service"), text(name + "@.service"), 0o644})
		}
		return all
	case OpenRC:
		return []File{{openrc, text("openrc"), 0o755}}
	case Ifupdown:
		return []File{{hook, text("ifupdown"), 0o755}}
	}
	return nil
}

// unitNames are the units of each tunnel.
var unitNames = []string{"wgkeys", "wgkeys-names", "wgkeys-device"}

func text(name string) []byte {
	text, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is a part of this program
	}
	return bytes.ReplaceAll(text, []byte(place), []byte(Program()))
}

// Is reports whether the file is there already, as it is to be.
func (f File) Is() bool {
	info, err := os.Stat(f.Path)
	return err == nil && info.Mode().Perm() == f.Mode && files.Holds(f.Path, string(f.Text))
}

// Write writes the file.
func (f File) Write() error { return services.WriteForAll(f.Path, f.Text, f.Mode) }

// A Command is run to have the tunnels brought up.
type Command struct {
	Args  []string
	Reads bool // it has the files read, and is needed only where one is new

	done func(context.Context) bool // nil: that is not known
}

func (c Command) String() string { return strings.Join(c.Args, " ") }

// Done reports whether the command would change nothing.
func (c Command) Done(ctx context.Context) bool { return c.done != nil && c.done(ctx) }

// Run runs the command.
func (c Command) Run(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...).CombinedOutput()
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(string(out)); said != "" {
		err = errors.New(said)
	}
	return fault.Wrap(err, "cannot run", c.String(), "")
}

// Enable are the commands that have the tunnels brought up: of systemd those with named
// endpoints once more when names can be looked up, and each again when its interface is
// gone.
func (s System) Enable(views []*tunnel.View) []Command {
	switch {
	case s == OpenRC && len(views) > 0:
		return []Command{{Args: []string{"rc-update", "add", "wgkeys", "default"}, done: inRunlevel}}
	case s != Systemd:
		return nil
	}
	commands := []Command{{Args: []string{"systemctl", "daemon-reload"}, Reads: true}}
	for _, v := range views {
		commands = append(commands, enable("wgkeys@"+v.Tunnel), enable("wgkeys-device@"+v.Tunnel, "--now", "--no-block"))
		if named(v) {
			commands = append(commands, enable("wgkeys-names@"+v.Tunnel))
		}
	}
	return commands
}

func inRunlevel(context.Context) bool { return exists("/etc/runlevels/default/wgkeys") }

func enable(unit string, flags ...string) Command {
	unit += ".service"
	done := func(ctx context.Context) bool {
		return exec.CommandContext(ctx, "systemctl", "--quiet", "is-enabled", unit).Run() == nil
	}
	return Command{Args: append(append([]string{"systemctl", "enable"}, flags...), unit), done: done}
}

// named reports whether an endpoint has to be looked up.
func named(v *tunnel.View) bool {
	return slices.ContainsFunc(v.Peers, func(p tunnel.Peer) bool { return tunnel.IsName(p.Endpoint) })
}
