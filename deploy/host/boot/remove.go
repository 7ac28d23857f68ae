package boot

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
)

// Tunnels are those that systemd is to bring up.
func Tunnels() (names []string) {
	links, _ := filepath.Glob(filepath.Join(units, "*.wants", "wgkeys*@*.service")) // the pattern is a good one
	for _, link := range links {
		_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(link), ".service"), "@")
		if name != "" { // otherwise it is the template
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Disable are the commands after which nothing starts the tunnels any more. The tunnels are
// down.
func Disable(tunnels []string) (commands []Command) {
	if exists("/run/openrc/started/wgkeys") {
		commands = append(commands, Command{args: []string{"rc-service", "wgkeys", "stop"}})
	}
	if inRunlevel(context.Background()) {
		commands = append(commands, Command{args: []string{"rc-update", "del", "wgkeys", "default"}})
	}
	if !exists(runtime) {
		return commands
	}
	for _, tunnel := range tunnels {
		for _, template := range slices.Backward(templates) { // wgkeys@ last: the others depend on it
			unit := instance(template, tunnel)
			commands = append(commands, Command{
				args: []string{"systemctl", "disable", "--now", unit},
				done: func(ctx context.Context) bool { return isOff(ctx, unit) },
			})
		}
	}
	return commands
}

// isOff reports whether a unit is neither running nor enabled.
func isOff(ctx context.Context, unit string) bool {
	return !isEnabled(ctx, unit) && exec.CommandContext(ctx, "systemctl", "--quiet", "is-active", unit).Run() != nil
}

// Release are the commands after which systemd no longer brings a tunnel up at boot. The tunnel
// stays up, and another program has it.
func Release(tunnel string) (commands []Command) {
	for _, template := range templates {
		unit := instance(template, tunnel)
		args := []string{"systemctl", "--quiet", "disable", unit}
		if template != tunnelUnit { // to stop that one would take the tunnel down
			args = append(args, "--now")
		}
		commands = append(commands, Command{args: args,
			done: func(ctx context.Context) bool { return !isEnabled(ctx, unit) }})
	}
	return commands
}

// Left are the files for the next boot that exist: those of every system, and for tunnels
// those for network managers. If systemd does not run, its links are included. Files of a
// package are not.
func Left(names []string) (paths []string) {
	for _, s := range []System{Systemd, OpenRC, Ifupdown} {
		for _, f := range s.own() {
			if s != OpenRC || !shipsOpenRC() {
				paths = append(paths, f.Path)
			}
		}
	}
	links, _ := filepath.Glob(filepath.Join(units, "*.wants", "wgkeys*@*.service")) // as above
	paths = append(paths, links...)
	for _, name := range names {
		for _, file := range []string{
			apply.ManagerFile(name, apply.NetworkManager), apply.ManagerFile(name, apply.Networkd), apply.FirstFile(name),
		} {
			paths = append(paths, "/etc"+strings.TrimPrefix(file, "/run"))
		}
	}
	return slices.DeleteFunc(paths, func(path string) bool { return !lexists(path) })
}

// shipsOpenRC reports whether the script of OpenRC belongs to a package: on Alpine, since
// Debian has LSB's scripts in that place.
func shipsOpenRC() bool { return Packaged() && exists("/etc/alpine-release") }

// Forget makes systemd notice that its files are gone.
func Forget() []Command {
	if !exists(runtime) {
		return nil
	}
	return []Command{{args: []string{"systemctl", "daemon-reload"}}}
}
