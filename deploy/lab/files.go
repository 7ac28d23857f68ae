package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// layered are the directories of the machine that a host sees and can change in memory. It
// can even remove a program.
var layered = []string{"/etc", "/usr", "/bin", "/sbin", "/var", "/home"}

// private are the directories that are empty on a new host, with their modes. On the
// machine they may hold secrets, or state that would leak into a test.
var private = []struct {
	path string
	mode os.FileMode
}{
	{"/root", 0o700},
	{"/etc/ssh", 0o755},
	{"/etc/wireguard", 0o700},
	{"/etc/wgkeys", 0o755},
	{"/usr/local/bin", 0o755},
	{"/usr/local/sbin", 0o755},
}

// managers are network managers, which are removed from every host, so that no test depends
// on whether the machine has them. A test of one installs it, from machineFolder or
// elsewhere.
var managers = []string{"/usr/lib/systemd/systemd-networkd", "/usr/sbin/NetworkManager"}

// mountFiles gives the host its own view of the files. The mount namespace is new, so
// everything ends with it.
func mountFiles() error {
	// Otherwise systemd's shared root would propagate our mounts to the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := mountLayers(); err != nil {
		return err
	}
	for _, program := range managers {
		if err := putAway(program); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, p := range private {
		if err := mountEmpty(p.path, p.mode); err != nil {
			return err
		}
	}
	// proc(5) shows the process namespace of the process that mounts it, and sysfs(5) the
	// network namespace.
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// mountLayers mounts an overlay in memory over each layered directory. The upper layers are
// in a tmpfs on /run, which the host's own /run then hides, so that no mount point has to
// be made on the machine.
func mountLayers() error {
	if err := mountEmpty("/run", 0o755); err != nil {
		return err
	}
	for _, dir := range layered {
		if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
			continue
		}
		upper, work := filepath.Join("/run", dir, "upper"), filepath.Join("/run", dir, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		options := "lowerdir=" + dir + ",upperdir=" + upper + ",workdir=" + work
		if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount an overlay on %s: %w", dir, err)
		}
	}
	return mountEmpty("/run", 0o755)
}

// mountEmpty mounts a tmpfs on path. It makes a missing directory, which the machine does
// not see below a layered one.
func mountEmpty(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=%o", mode)); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", path, err)
	}
	return nil
}

// machineFolder is the directory in which a host has the machine's network managers.
const machineFolder = "/run/machine"

// putAway moves a program to machineFolder.
func putAway(program string) error {
	if _, err := os.Stat(program); err != nil {
		return err
	}
	kept := filepath.Join(machineFolder, filepath.Base(program))
	if err := os.MkdirAll(machineFolder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(kept, nil, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(program, kept, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", program, kept, err)
	}
	return os.Remove(program)
}

// writeFiles writes the files in which the host differs from the machine.
func writeFiles(name string) error {
	for _, dir := range []string{"/run/lock", "/run/sshd", "/run/wireguard"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{"/etc/hostname", name + "\n", 0o644},
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + name + "\n", 0o644},
		// No password lets anyone in, and none of the machine's is visible. sshd would take
		// "!" for a locked account.
		{"/etc/shadow", "root:*:19000:0:99999:7:::\n", 0o640},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	return nil
}
