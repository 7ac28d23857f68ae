package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// Fixed returns the parameters that cannot be set, with the reason. It opens each for
// writing, which changes nothing and is checked as a write is (proc_sys_permission).
func (r *Root) Fixed(sysctls map[string]string) map[string]string {
	var fixed map[string]string
	for key := range sysctls {
		if path.Base(key) == "forwarding" && path.Base(path.Dir(key)) != "all" {
			continue // the kernel sets it together with conf/all/forwarding
		}
		f, err := r.root.OpenFile(key, os.O_WRONLY, 0)
		why := ""
		switch {
		case err == nil:
			f.Close()
		case errors.Is(err, unix.EROFS):
			why = apply.ReadOnlySysctls
		case errors.Is(err, fs.ErrPermission):
			why = "no right to change /proc/sys/" + key
		}
		if why != "" {
			if fixed == nil {
				fixed = map[string]string{}
			}
			fixed[key] = why
		}
	}
	return fixed
}
