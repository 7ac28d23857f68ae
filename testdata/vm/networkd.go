package main

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// networkdParts are what the machine has of the packages that
// testdata/setup/managers.sh unpacks: systemd-networkd, its bus, and what makes
// their users. Nothing starts them but a test, on a laboratory host.
var networkdParts = strings.Fields(`
	lib/systemd/systemd-networkd bin/networkctl bin/systemd-sysusers usr/lib/sysusers.d
	usr/bin/dbus-daemon usr/share/dbus-1/system.conf usr/share/dbus-1/system.d`)

// A networkd is the folder where its packages are unpacked.
type networkd string

// files returns the files of networkd and of the libraries it needs, none where
// the packages have not been fetched.
func (n networkd) files() (list []string, err error) {
	if n == "" {
		return nil, nil
	}
	for _, part := range networkdParts {
		err := filepath.WalkDir(n.part(part), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	programs := slices.DeleteFunc(slices.Clone(list), func(path string) bool { return filepath.Ext(path) == ".conf" })
	libraries, err := librariesOf(programs, "LD_LIBRARY_PATH="+strings.Join([]string{n.at("usr/lib/*/systemd"),
		n.at("usr/lib/*-linux-*")}, ":"))
	return append(list, libraries...), err
}

// part is where a part is: from Debian 13 on, all of them below /usr.
func (n networkd) part(name string) string {
	if path := filepath.Join(string(n), name); exists(path) {
		return path
	}
	return filepath.Join(string(n), "usr", name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// at returns the path of the folder that the pattern names.
func (n networkd) at(pattern string) string {
	found, _ := filepath.Glob(filepath.Join(string(n), pattern)) // the pattern is one
	return cmp.Or(append(found, "")...)
}

// inside is a file's path in the machine: that of the package, or for what the
// packages take from here the same as here.
func (n networkd) inside(path string) string {
	if name, ok := strings.CutPrefix(path, string(n)); ok && n != "" {
		return name
	}
	return path
}

// findNetworkd finds what `make managers` or `make transitions` has unpacked.
func findNetworkd(lab string) networkd {
	dir := filepath.Join(lab, "managers", "networkd", "files")
	if found, _ := filepath.Glob(dir); found == nil {
		return ""
	}
	return networkd(dir)
}
