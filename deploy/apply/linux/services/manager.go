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

// A managerSigns says how to recognise a network manager on a host.
type managerSigns struct {
	name     string
	programs []string // paths; it is installed if one of them is there
	sign     string   // path; there while it runs, and sometimes after
}

var managers = []managerSigns{
	{apply.Networkd, []string{"/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"},
		"/run/systemd/netif/state"},
	{apply.NetworkManager, []string{"/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"}, "/run/NetworkManager/devices"},
}

func signOf(manager string) string {
	return managers[slices.IndexFunc(managers, func(m managerSigns) bool { return m.name == manager })].sign
}

// ObserveManagers finds the network managers that run or are installed, and whether each of
// them manages the link. A down, without a view, needs only those that run.
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

// networkFolders are the directories in which systemd-networkd looks for its files.
var networkFolders = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network",
	"/usr/lib/systemd/network"}

// unmanagedFile returns the file that tells the manager to leave the link alone, and
// whether it is there and the manager can read it.
func unmanagedFile(link, manager string) (file string, reads bool) {
	file = apply.ManagerFile(link, manager)
	if manager == apply.Networkd && precedes(networkFolders, filepath.Base(file)) {
		file = apply.FirstFile(link)
	}
	text, err := os.ReadFile(file)
	return file, err == nil && string(text) == apply.UnmanagedText(link, manager)+"\n" && forAll(file)
}

// A BootFile is a file that has to be there before anything is applied.
type BootFile struct {
	Path string
	Text []byte
}

// UnmanagedAtBoot returns files for /etc that tell the installed managers to leave the link
// alone from their start on, as those that apply writes below /run do later.
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

// precedes reports whether a .network file of somebody else comes before ours in lexical
// order.
func precedes(folders []string, ours string) bool {
	for _, folder := range folders {
		files, _ := os.ReadDir(folder) // a directory that is missing has no files
		for _, f := range files {
			name := f.Name()
			if filepath.Ext(name) == ".network" && name < ours && !strings.Contains(name, "wgkeys-") {
				return true
			}
		}
	}
	return false
}

// forAll reports whether everybody can read the file and search its directory:
// systemd-networkd runs as a user of its own.
func forAll(file string) bool {
	f, err := os.Stat(file)
	if err != nil || f.Mode().Perm()&0o444 != 0o444 {
		return false
	}
	dir, err := os.Stat(filepath.Dir(file))
	return err == nil && dir.Mode().Perm()&0o555 == 0o555
}

// Taken returns the state of the link in the manager's own words if the manager runs and
// manages it; otherwise "".
func Taken(ctx context.Context, link, manager string) string {
	if !Running(ctx, manager) {
		return ""
	}
	return takenBy(ctx, link, manager)
}

// takenBy is [Taken] for a manager that runs.
func takenBy(ctx context.Context, link, manager string) string {
	if manager == apply.Networkd {
		return takenByNetworkd(ctx, link)
	}
	return takenByNetworkManager(ctx, link)
}

// takenByNetworkd parses the output of networkctl list, a line of index, name, type and two
// states, and for a managed link adds the file that networkctl status names.
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

// unmanagedState is NM_DEVICE_STATE_UNMANAGED; below it is NM_DEVICE_STATE_UNKNOWN.
const unmanagedState = 10

// takenByNetworkManager parses the state that nmcli prints, a number and words: "100
// (connected (externally))".
func takenByNetworkManager(ctx context.Context, link string) string {
	out := ask(ctx, "nmcli", "-g", "GENERAL.STATE", "device", "show", link)
	number, words, _ := strings.Cut(strings.TrimSpace(out), " ")
	if n, err := strconv.Atoi(number); err != nil || n <= unmanagedState {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(words, "("), ")")
}

// SetManager writes or removes the manager's file and makes the manager read it. If the
// manager does not answer now, it reads the file when it starts.
func SetManager(ctx context.Context, c apply.ManagerChange) error {
	files := []string{apply.ManagerFile(c.Link, c.Manager)}
	if c.Manager == apply.Networkd {
		files = append(files, apply.FirstFile(c.Link))
	}
	if c.Add {
		if err := WriteForAll(c.File, []byte(apply.UnmanagedText(c.Link, c.Manager)+"\n"), 0o644); err != nil {
			if !exists(signOf(c.Manager)) {
				return nil // it is not running, so it cannot take the link; the next plan tries again
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

// WriteForAll writes a file that everybody can read. It makes its directories searchable
// for everybody whatever the umask is, which is 0077 in the unit and may be in a root
// shell.
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

// haveRead makes a running manager read its files again. NetworkManager keeps a link that
// it took before ("connected (externally)") until it is set to unmanaged by name.
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

// Running reports whether the manager runs. What a stopped program left in /run is no
// proof, and asking the program itself would start it, by its socket or its name on the
// bus.
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
