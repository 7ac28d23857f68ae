package intake

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/deploy/tunnel/formats"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// fromFiles returns the interfaces in the named files.
func (r *reader) fromFiles() ([]*foreign.Device, error) {
	list, err := r.readFiles()
	defer foreign.Wipe(list)
	if err != nil {
		return nil, err
	}
	return r.parse(list)
}

// readFiles reads the named files, and those of named folders that describe tunnels.
func (r *reader) readFiles() (list []foreign.File, err error) {
	for _, arg := range r.o.Names {
		host, path := "", arg
		if name, rest, ok := strings.Cut(arg, "="); ok {
			err := keyring.CheckHost(name)
			switch {
			case err == nil:
				host, path = name, rest
			case !strings.Contains(name, "/") && !exists(arg):
				return list, ui.Usage("no host can be named", name, err.Error(), "wgkeys import NAME="+ui.Quoted(rest))
			}
		}
		paths, err := filesOf(path)
		if err != nil {
			return list, fault.WrapFile(fault.Errno(err), "cannot read", path, "ls -ld "+ui.Quoted(path))
		}
		for _, p := range paths {
			text, err := r.readFile(p)
			if err != nil {
				return list, fault.WrapFile(fault.Errno(err), "cannot read", p,
					"sudo, where it is readable for root alone: ls -l "+ui.Quoted(p))
			}
			file := foreign.File{Name: p, Text: text, Interface: r.o.Tunnel}
			if p != path && r.stray(file) {
				continue
			}
			list = append(list, file)
			if host != "" {
				r.named[p] = host
			}
		}
	}
	return list, nil
}

// stray reports whether a file of a named folder describes no tunnel, and says so.
func (r *reader) stray(f foreign.File) bool {
	if r.o.Format != "" {
		return false
	}
	why := formats.Stray(f)
	if why == "" {
		return false
	}
	clear(f.Text)
	r.o.Report.Say("no tunnel: %s: %s", f.Name, why)
	return true
}

// parse reads the files of each host by themselves, since those of two hosts may have the
// same names.
func (r *reader) parse(list []foreign.File) (devices []*foreign.Device, err error) {
	byHost := map[string][]foreign.File{}
	var hosts []string
	for _, f := range list {
		host := r.named[f.Name]
		if byHost[host] == nil {
			hosts = append(hosts, host)
		}
		byHost[host] = append(byHost[host], f)
	}
	var errs []error
	for _, host := range hosts {
		d, err := formats.Parse(byHost[host], r.o.Format, r.keyFile)
		devices, errs = append(devices, d...), append(errs, err)
	}
	return devices, errors.Join(errs...)
}

// filesOf is path, or the files in it if it is a folder, except the hidden ones.
func filesOf(path string) (paths []string, err error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	err = filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(e.Name(), "."); {
		case err != nil:
			return err
		case hidden && e.IsDir() && p != path:
			return filepath.SkipDir
		case !hidden && e.Type().IsRegular():
			paths = append(paths, p)
		}
		return nil
	})
	return paths, err
}

// exists reports whether there is a file of that name, or a link.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
