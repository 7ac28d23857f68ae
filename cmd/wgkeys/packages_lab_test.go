package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// unpackOn puts the packages of one program on the host, whose files are a layer
// in memory. The host does not see /root, where the packages may lie.
func unpackOn(u *labtest.Users, h *lab.Host, name string) {
	u.Helper()
	folder := "../../.lab/managers/" + name
	if _, err := os.Stat(folder + "/complete"); err != nil {
		labtest.Missing(u.T, fmt.Sprintf("%v: run testdata/setup/managers.sh", err))
	}
	packages, err := filepath.Glob(folder + "/*.deb")
	if err != nil || len(packages) == 0 {
		u.Fatalf("%s: no packages: %v", folder, err)
	}
	for _, p := range packages {
		files := exec.Command("dpkg-deb", "--fsys-tarfile", p)
		tar := h.Command(u.Context(), "tar", "-x", "--keep-directory-symlink", "-C", "/")
		if tar.Stdin, err = files.StdoutPipe(); err != nil {
			u.Fatal(err)
		}
		if err := files.Start(); err != nil {
			u.Fatal(err)
		}
		var said strings.Builder
		tar.Stdout, tar.Stderr = &said, &said
		if err := errors.Join(tar.Run(), files.Wait()); err != nil {
			u.Fatalf("%s: %v\n%s", p, err, said.String())
		}
	}
	u.Must(h, "ldconfig")
}

// startBus starts a system bus. The kernel's devices are shown without udev:
// /sys is read-only, as in a container. The bus starts no polkit, which a machine that has
// dbus would have it do: it knows only the actions that scripts of packages set up, and
// without it root may do all.
func startBus(u *labtest.Users, h *lab.Host) {
	u.Helper()
	u.Must(h, "rm -f /usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service")
	u.Must(h, "mkdir -p /run/dbus /run/systemd /run/udev; systemd-sysusers 2>/dev/null; dbus-daemon --system --fork --nopidfile; mount -o remount,ro /sys")
}
