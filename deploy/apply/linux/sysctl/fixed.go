package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// Fixed are the parameters that cannot be set. To open one for writing changes
// nothing, and meets all that a write would (proc_sys_permission).
func (r *Root) Fixed(sysctls map[string]string) map[string]string {
	var fixed map[string]string
	for key := range sysctls {
		if path.Base(key) == "forwarding" && path.Base(path.Dir(key)) != "all" {
			continue // the kernel sets it along with that of all
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
