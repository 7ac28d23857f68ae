package main

import (
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/apply/linux/lookup"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

//go:embed boot
var boot embed.FS

func installCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:  "install",
		Usage: "bring the applied tunnels of this machine up at boot",
		Description: "Puts this program at /usr/local/bin/wgkeys, and for systemd the units\n" +
			"wgkeys@TUNNEL, or with --ifupdown a hook in /etc/network/if-up.d. At boot the\n" +
			"last view that apply kept is applied; no repository is needed. Network managers\n" +
			"that are installed are told to leave the interfaces alone.",
		Flags: []cli.Flag{
			tunnelFlag, dryRunFlag,
			&cli.BoolFlag{Name: "ifupdown", Usage: "for hosts whose network is ifupdown's"},
		},
	}, doInstall
}

// installedProgram is where the units look for the program.
const installedProgram = "/usr/local/bin/wgkeys"

// A bootFile is a file of boot's and where it goes.
type bootFile struct {
	name, path string
	mode       os.FileMode
}

var (
	systemdFiles = []bootFile{
		{"boot/wgkeys@.service", "/etc/systemd/system/wgkeys@.service", 0o644},
		{"boot/wgkeys-names@.service", "/etc/systemd/system/wgkeys-names@.service", 0o644},
		{"boot/wgkeys-device@.service", "/etc/systemd/system/wgkeys-device@.service", 0o644},
	}
	ifupdownFiles = []bootFile{{"boot/ifupdown", "/etc/network/if-up.d/wgkeys", 0o755}}
)

func doInstall(e *env) error {
	views, err := keptViews(e)
	if err != nil {
		return err
	}
	if e.cli.Bool("ifupdown") {
		return installFor(e, views, ifupdownFiles, nil)
	}
	return installFor(e, views, systemdFiles, enable(views))
}

// installFor puts the program and files in their places, and has systemd run commands.
func installFor(e *env, views []*tunnel.View, files []bootFile, commands [][]string) error {
	if err := installProgram(e); err != nil {
		return err
	}
	for _, f := range files {
		text, err := boot.ReadFile(f.name)
		if err != nil {
			return err
		}
		if err := installFile(e, f.path, text, f.mode); err != nil {
			return err
		}
	}
	if err := installUnmanaged(e, views); err != nil {
		return err
	}
	return runAll(e, commands)
}

func installFile(e *env, path string, text []byte, mode os.FileMode) error {
	e.ui.Printf("install -m %04o %s\n", mode, path)
	if e.cli.Bool("dry-run") {
		return nil
	}
	if err := services.WriteForAll(path, text, mode); err != nil {
		return fault.WrapFile(err, "cannot install", path, "sudo wgkeys install")
	}
	return nil
}

// installUnmanaged has network managers leave the interfaces alone from the next boot
// on. One that starts at the same moment as apply may have read its files before
// apply writes those below /run, and see the interface before it can be told.
func installUnmanaged(e *env, views []*tunnel.View) error {
	for _, v := range views {
		for _, f := range services.UnmanagedAtBoot(v.Tunnel) {
			if err := installFile(e, f.Path, f.Text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptViews are those of the named tunnel, or of all that were applied here.
func keptViews(e *env) ([]*tunnel.View, error) {
	names := kept.Names()
	if t := e.cli.String("tunnel"); t != "" {
		if err := tunnel.CheckName(t); err != nil {
			return nil, ui.ExitWith(ui.ExitUsage, err)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name != t })
	}
	if len(names) == 0 {
		return nil, fault.NewFile("nothing to bring up at boot in", kept.Dir, "no tunnel was applied on this machine", "wgkeys apply")
	}
	var views []*tunnel.View
	for _, name := range names {
		v, err := kept.View(name)
		if err != nil {
			return nil, err
		}
		if v == nil { // a down meanwhile
			continue
		}
		views = append(views, v)
	}
	return views, nil
}

// enable returns the commands that make systemd bring the tunnels up: those
// with named endpoints once more when names can be looked up, and each again when
// its interface is gone.
func enable(views []*tunnel.View) [][]string {
	commands := [][]string{{"systemctl", "daemon-reload"}}
	for _, v := range views {
		commands = append(commands, []string{"systemctl", "enable", "wgkeys@" + v.Tunnel + ".service"})
		commands = append(commands, []string{"systemctl", "enable", "--now", "--no-block", "wgkeys-device@" + v.Tunnel + ".service"})
		if named(v) {
			commands = append(commands, []string{"systemctl", "enable", "wgkeys-names@" + v.Tunnel + ".service"})
		}
	}
	return commands
}

// named reports whether an endpoint has to be looked up.
func named(v *tunnel.View) bool {
	for _, p := range v.Peers {
		if lookup.IsName(p.Endpoint) {
			return true
		}
	}
	return false
}

// installProgram copies this program, unless it runs from its place already.
func installProgram(e *env) error {
	self, err := os.Executable()
	if err != nil {
		return fault.Wrap(err, "cannot find this program's own file", "", "")
	}
	if real, err := filepath.EvalSymlinks(installedProgram); err == nil && real == self {
		return nil
	}
	e.ui.Printf("install -m 0755 %s %s\n", self, installedProgram)
	if e.cli.Bool("dry-run") {
		return nil
	}
	if err := copyProgram(self, installedProgram); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot install", installedProgram, "sudo wgkeys install")
	}
	return nil
}

// copyProgram replaces the program at once: one that runs is not written to.
func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return files.Replace(to, in, files.Replacement{Mode: 0o755})
}

func runAll(e *env, commands [][]string) error {
	for _, c := range commands {
		e.ui.Printf("%s\n", strings.Join(c, " "))
		if e.cli.Bool("dry-run") {
			continue
		}
		cmd := exec.CommandContext(e.ctx, c[0], c[1:]...)
		cmd.Stderr = e.ui.Stderr
		if err := cmd.Run(); err != nil {
			return fault.Wrap(err, "cannot run", strings.Join(c, " "), "on a host without systemd: wgkeys install --ifupdown")
		}
	}
	return nil
}
