package main

import (
	"errors"
	"os"
	"path/filepath"
)

// kernelVariable names the kernel to boot where it is not this machine's Debian's
// own: "6.1", "6.12" or "newest", as testdata/setup/kernel.sh unpacks them.
const kernelVariable = "WGKEYS_LAB_KERNEL"

// A kernel is an unpacked Debian kernel package.
type kernel struct {
	version string
	image   string // path of vmlinuz
	modules string // folder of its modules
}

// findKernel finds what `make lab` has unpacked by that name. The image is in
// /boot, and from Linux 7 on beside its modules, which Debian 13 has below /usr.
func findKernel(lab, name string) (kernel, error) {
	root, hint := filepath.Join(lab, "kernel"), "make lab"
	if name != "" {
		root, hint = root+"-"+name, hint+" KERNEL="+name
	}
	missing := errors.New("no kernel in " + root + ": run `" + hint + "`")
	folders, err := filepath.Glob(filepath.Join(root, "lib", "modules", "*"))
	if err != nil {
		return kernel{}, err
	}
	below, err := filepath.Glob(filepath.Join(root, "usr", "lib", "modules", "*"))
	if err != nil {
		return kernel{}, err
	}
	folders = append(folders, below...)
	if len(folders) != 1 {
		return kernel{}, missing
	}
	version := filepath.Base(folders[0])
	for _, image := range []string{filepath.Join(root, "boot", "vmlinuz-"+version), filepath.Join(folders[0], "vmlinuz")} {
		if _, err := os.Stat(image); err == nil {
			return kernel{version, image, folders[0]}, nil
		}
	}
	return kernel{}, missing
}
