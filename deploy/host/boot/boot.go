// Package boot makes this host bring its tunnels up when it starts: by units of systemd, a
// script of OpenRC, or a hook of ifupdown. Each applies the views that apply kept, and
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

// Program is the path of the program for all of them. One that install has put there takes
// precedence over that of a package, as in PATH.
func Program() string {
	if Packaged() {
		return packaged
	}
	return place
}

// Packaged reports whether the program on this host belongs to a package, which brings the
// units and is upgraded and removed by the host's package manager.
func Packaged() bool { return !exists(place) && exists(packaged) }

// A System is what starts services on this host.
type System string

const (
	Systemd  System = "systemd"
	OpenRC   System = "OpenRC"
	Ifupdown System = "ifupdown" // starts no services, but runs hooks
	None     System = ""         // none that is known
)

// The paths of their files. The folders exist before anything of ours does.
const (
	units   = "/etc/systemd/system"
	shipped = "/usr/lib/systemd/system" // a package's
	openrc  = "/etc/init.d/wgkeys"
	hook    = "/etc/network/if-up.d/wgkeys"
	runtime = "/run/systemd/system" // sd_booted(3)
)

// Find finds out what starts the services of this host. Only Debian's ifupdown has a folder
// for hooks at the end of ifup -a.
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

// A File is one that has to exist for the next boot.
type File struct {
	Path string
	Text []byte
	Mode fs.FileMode
}

// Files are those of s, and those that make network managers leave the interfaces alone
// from the next boot on. A manager that starts at the same moment as apply may have read
// its files before apply writes those below /run, and see the interface too early.
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
		if Packaged() && exists(filepath.Join(shipped, instance(tunnelUnit, ""))) {
			return nil
		}
		for _, template := range templates {
			name := instance(template, "")
			all = append(all, File{filepath.Join(units, name), text(name), 0o644})
		}
		return all
	case OpenRC:
		return []File{{openrc, text("openrc"), 0o755}}
	case Ifupdown:
		return []File{{hook, text("ifupdown"), 0o755}}
	}
	return nil
}

// The templates of systemd's units (systemd.unit(5)); each tunnel has an instance of them.
const (
	tunnelUnit = "wgkeys@"        // brings it up
	namesUnit  = "wgkeys-names@"  // applies it again once names can be looked up
	deviceUnit = "wgkeys-device@" // applies it again when its interface is gone
)

var templates = []string{tunnelUnit, namesUnit, deviceUnit}

// instance is the unit of a template for a tunnel; for "" it is the template itself.
func instance(template, tunnel string) string { return template + tunnel + ".service" }

func text(name string) []byte {
	text, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is a part of this program
	}
	return bytes.ReplaceAll(text, []byte(place), []byte(Program()))
}

// is reports whether the file exists with the right content.
func (f File) is() bool {
	info, err := os.Stat(f.Path)
	return err == nil && info.Mode().Perm() == f.Mode && files.Holds(f.Path, string(f.Text))
}

// write writes the file.
func (f File) write() error { return services.WriteForAll(f.Path, f.Text, f.Mode) }

// A Command makes the host bring the tunnels up.
type Command struct {
	args  []string
	reads bool // it reloads files, and is needed only if one is new

	done func(context.Context) bool // reports whether there is nothing to do; nil: that is not known
}

func (c Command) String() string { return strings.Join(c.args, " ") }

// Done reports whether the command would change nothing.
func (c Command) Done(ctx context.Context) bool { return c.done != nil && c.done(ctx) }

// Run runs the command.
func (c Command) Run(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, c.args[0], c.args[1:]...).CombinedOutput()
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(string(out)); said != "" {
		err = errors.New(said)
	}
	return fault.Wrap(err, "cannot run", c.String(), "")
}

// enable are the commands that enable the tunnels at boot. With systemd, those with
// endpoint names are applied once more when names can be looked up, and each again when its
// interface is gone.
func (s System) enable(views []*tunnel.View) []Command {
	switch {
	case s == OpenRC && len(views) > 0:
		return []Command{{args: []string{"rc-update", "add", "wgkeys", "default"}, done: inRunlevel}}
	case s != Systemd:
		return nil
	}
	commands := []Command{{args: []string{"systemctl", "daemon-reload"}, reads: true}}
	for _, v := range views {
		needed := unitsOf(v)
		commands = append(commands, enable(needed[0]), enable(instance(deviceUnit, v.Tunnel), "--now", "--no-block"))
		for _, unit := range needed[1:] {
			commands = append(commands, enable(unit))
		}
	}
	return commands
}

// Missing are the units with which systemd would bring the tunnel of v up at boot, and that are
// not enabled although this host has them, as after the first apply of a second tunnel. Where it
// has none, nobody has asked for that yet.
func Missing(v *tunnel.View) (missing []string) {
	template := instance(tunnelUnit, "")
	if Find() != Systemd || !exists(filepath.Join(units, template), filepath.Join(shipped, template)) {
		return nil
	}
	for _, unit := range unitsOf(v) {
		links, _ := filepath.Glob(filepath.Join(units, "*.wants", unit)) // the pattern is a good one
		if links == nil {
			missing = append(missing, unit)
		}
	}
	return missing
}

// unitsOf are the units that have to start at boot for the tunnel of v. The one for a device in
// user space is not among them: it does nothing for the others.
func unitsOf(v *tunnel.View) []string {
	all := []string{instance(tunnelUnit, v.Tunnel)}
	if named(v) {
		all = append(all, instance(namesUnit, v.Tunnel))
	}
	return all
}

func inRunlevel(context.Context) bool { return exists("/etc/runlevels/default/wgkeys") }

func enable(unit string, flags ...string) Command {
	done := func(ctx context.Context) bool { return isEnabled(ctx, unit) }
	return Command{args: append(append([]string{"systemctl", "enable"}, flags...), unit), done: done}
}

func isEnabled(ctx context.Context, unit string) bool {
	return exec.CommandContext(ctx, "systemctl", "--quiet", "is-enabled", unit).Run() == nil
}

// named reports whether an endpoint is a name.
func named(v *tunnel.View) bool {
	return slices.ContainsFunc(v.Peers, func(p tunnel.Peer) bool { return tunnel.IsName(p.Endpoint) })
}
