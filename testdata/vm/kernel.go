package main

import (
	"errors"
	"path/filepath"
	"strings"
)

// A kernel is an unpacked Debian kernel package.
type kernel struct {
	version string
	image   string // path of vmlinuz
	modules string // folder of its modules
}

// findKernel finds what `make lab` has unpacked.
func findKernel(lab string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(lab, "kernel", "boot", "vmlinuz-*"))
	if err != nil {
		return kernel{}, err
	}
	if len(images) != 1 {
		return kernel{}, errors.New("no kernel in " + lab + ": run `make lab`")
	}
	version := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	dir := filepath.Join(lab, "kernel", "lib", "modules", version)
	if _, err := filepath.EvalSymlinks(dir); err != nil {
		// Debian 13 packages have them below /usr.
		dir = filepath.Join(lab, "kernel", "usr", "lib", "modules", version)
	}
	return kernel{version, images[0], dir}, nil
}
