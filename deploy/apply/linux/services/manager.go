package services

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// managerSigns is how a program that manages networks shows on a host.
type managerSigns struct {
	name     string
	programs []string // any of them: it is installed
	sign     string   // it runs, or did
}

var managers = []managerSigns{
	{apply.Networkd, []string{"/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"},
		"/run/systemd/netif/state"},
	{apply.NetworkManager, []string{"/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"}, "/run/NetworkManager/devices"},
}

func signOf(manager string) string {
	return managers[slices.IndexFunc(managers, func(m managerSigns) bool { return m.name == manager })].sign
}

// ObserveManagers finds who may manage the host's network besides us, and how each
// stands to the link. For down it is enough to know who runs.
func ObserveManagers(ctx context.Context, name string, s *apply.State, view *tunnel.View) {
	for _, m := range managers {
		runs := exists(m.sign)
		if runs {
			s.Managers = append(s.Managers, m.name)
		}
		if view == nil || !runs && !slices.ContainsFunc(m.programs, exists) {
			continue
		}
		u := apply.Unmanaged{Manager: m.name}
		u.File, u.Reads = unmanagedFile(name, m.name)
		if runs && s.Link != nil {
			u.Taken = takenBy(ctx, name, m.name)
		}
		s.Unmanaged = append(s.Unmanaged, u)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// networkFolders are where systemd-networkd looks for its files.
var networkFolders = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network",
	"/usr/lib/systemd/network"}

// unmanagedFile is where the manager is to read that it leaves the link alone, and
// whether it does.
func unmanagedFile(link, manager string) (file string, reads bool) {
	file = apply.ManagerFile(link, manager)
	if manager == apply.Networkd && precedes(networkFolders, filepath.Base(file)) {
		file = apply.FirstFile(link)
	}
	text, err := os.ReadFile(file)
	return file, err == nil && string(text) == apply.UnmanagedText(link, manager)+"\n" && forAll(file)
}

// A BootFile is a file that is there before anything is applied.
type BootFile struct {
	Path string
	Text []byte
}

// UnmanagedAtBoot are the files that say to the managers that are installed, from
// their own start on, what apply says below /run.
func UnmanagedAtBoot(link string) (files []BootFile) {
	for _, m := range managers {
		if !slices.ContainsFunc(m.programs, exists) {
			continue
		}
		file, _ := unmanagedFile(link, m.name)
		files = append(files, BootFile{"/etc" + strings.TrimPrefix(file, "/run"),
			[]byte(apply.UnmanagedText(link, m.name) + "\n")})
	}
	return files
}

// precedes reports whether a .network file of somebody else comes before ours.
func precedes(folders []string, ours string) bool {
	for _, folder := range folders {
		files, _ := os.ReadDir(folder) // one that is not there has none
		for _, f := range files {
			name := f.Name()
			if filepath.Ext(name) == ".network" && name < ours && !strings.Contains(name, "wgkeys-") {
				return true
			}
		}
	}
	return false
}

// forAll reports whether everybody can read the file and pass its folder:
// systemd-networkd runs as a user of its own.
func forAll(file string) bool {
	f, err := os.Stat(file)
	if err != nil || f.Mode().Perm()&0o444 != 0o444 {
		return false
	}
	dir, err := os.Stat(filepath.Dir(file))
	return err == nil && dir.Mode().Perm()&0o555 == 0o555
}

// Taken is what a manager that runs calls a link that it has; "": it has not.
func Taken(ctx context.Context, link, manager string) string {
	if !Running(ctx, manager) {
		return ""
	}
	return takenBy(ctx, link, manager)
}

// takenBy returns what the manager itself calls the link, where it has taken it.
func takenBy(ctx context.Context, link, manager string) string {
	if manager == apply.Networkd {
		return takenByNetworkd(ctx, link)
	}
	return takenByNetworkManager(ctx, link)
}

// takenByNetworkd asks for a line of number, name, type, and two states, and where
// the link is taken for the file by which it is.
func takenByNetworkd(ctx context.Context, link string) string {
	words := strings.Fields(ask(ctx, "networkctl", "--no-pager", "--no-legend", "list", link))
	if len(words) < 5 {
		return ""
	}
	state := words[4]
	switch state {
	case "configuring", "configured", "failed":
	default: // not known yet, or unmanaged
		return ""
	}
	for line := range strings.Lines(ask(ctx, "networkctl", "--no-pager", "--lines=0", "status", link)) {
		if file, ok := strings.CutPrefix(strings.TrimSpace(line), "Network File: "); ok {
			state += " by " + file
		}
	}
	return state
}

// unmanagedState is NM_DEVICE_STATE_UNMANAGED; what is below is not known yet.
const unmanagedState = 10

// takenByNetworkManager asks for the state, a number and its words:
// "100 (connected (externally))".
func takenByNetworkManager(ctx context.Context, link string) string {
	out := ask(ctx, "nmcli", "-g", "GENERAL.STATE", "device", "show", link)
	number, words, _ := strings.Cut(strings.TrimSpace(out), " ")
	if n, err := strconv.Atoi(number); err != nil || n <= unmanagedState {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(words, "("), ")")
}

// SetManager writes or removes the manager's file and has it read again. A
// manager that does not answer now reads the file when it starts.
func SetManager(ctx context.Context, c apply.ManagerChange) error {
	files := []string{apply.ManagerFile(c.Link, c.Manager)}
	if c.Manager == apply.Networkd {
		files = append(files, apply.FirstFile(c.Link))
	}
	if c.Add {
		if err := WriteForAll(c.File, []byte(apply.UnmanagedText(c.Link, c.Manager)+"\n"), 0o644); err != nil {
			if !exists(signOf(c.Manager)) {
				return nil // it is not there to take anything, and the next plan says so
			}
			return err
		}
	}
	for _, file := range files {
		if c.Add && file == c.File {
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	haveRead(ctx, c)
	return nil
}

// WriteForAll writes a file that everybody can read, and makes its folders so that
// everybody can pass, whatever the umask: that of the unit is 0077, and so may a
// root shell's be.
func WriteForAll(file string, text []byte, mode os.FileMode) error {
	dir := filepath.Dir(file)
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Stat(d)
		if err == nil && info.Mode().Perm()&0o555 != 0o555 {
			err = os.Chmod(d, info.Mode().Perm()|0o555)
		}
		if err != nil {
			return err
		}
	}
	return journal.WriteFile(file, text, mode)
}

// haveRead has a manager that runs read its files again. NetworkManager keeps what
// it took ("connected (externally)") until it is told of the interface itself.
func haveRead(ctx context.Context, c apply.ManagerChange) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	switch {
	case !Running(ctx, c.Manager):
	case c.Manager == apply.Networkd:
		runProgram(ctx, "", "networkctl", "reload")
	default:
		runProgram(ctx, "", "nmcli", "general", "reload", "conf")
		if c.Add && takenByNetworkManager(ctx, c.Link) != "" {
			runProgram(ctx, "", "nmcli", "device", "set", c.Link, "managed", "no")
		}
	}
}

// Running reports whether there is somebody to tell: what a program left behind
// that was stopped is no sign of life, and to ask would start it, by its socket or
// by its name on the bus.
func Running(ctx context.Context, manager string) bool {
	if !exists(signOf(manager)) {
		return false
	}
	if !exists("/run/systemd/system") { // sd_booted(3)
		return true
	}
	err := exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", manager+".service").Run()
	var exit *exec.ExitError
	return !errors.As(err, &exit) || exit.ExitCode() != notActive
}

// notActive is the exit status of systemctl(1) is-active for a unit that is not.
const notActive = 3
