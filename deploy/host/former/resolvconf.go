package former

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
)

// A program gives resolvconf(8) the tunnel's resolvers under a name of its own, which wgkeys
// does not use: wg-quick that of the interface with openresolv (resolvconf_iface_prefix in
// its source), and ifupdown's scripts one for each family. wgkeys puts "vpn." before the
// interface, which has its resolvers asked first; Debian's resolvconf has one name for
// wg-quick and wgkeys.
var recordSuffixes = map[string][]string{wgQuick: {""}, ifupdown: {".inet", ".inet6"}}

// recordFolders are where openresolv keeps its records, before and since its version 3.13,
// and Debian's resolvconf.
var recordFolders = []string{"/run/resolvconf/interfaces", "/run/resolvconf/keys", "/run/resolvconf/interface"}

// removeNames removes the program's records of the tunnel's resolvers, and saves them: nobody
// else would, and after `wgkeys down` names would be asked where no tunnel leads.
func (r *Record) removeNames(ctx context.Context) error {
	for _, suffix := range recordSuffixes[r.Manager] {
		name := r.Link + suffix
		for _, folder := range recordFolders {
			if suffix == "" && folder == recordFolders[2] {
				continue // it is that of wgkeys
			}
			text, err := readIfThere(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			if text == "" {
				continue
			}
			if r.Names == nil {
				r.Names = map[string]string{}
			}
			r.Names[name] = text
			if err := r.Save(); err != nil {
				return err
			}
			if _, err := run(ctx, "", "resolvconf", "-d", name, "-f"); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBackNames gives the records back as the program gave them (set_dns in wg-quick's
// source).
func (r *Record) putBackNames(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(r.Names)) {
		args := []string{"-a", name}
		if r.Manager == wgQuick {
			args = append(args, "-m", "0", "-x")
		}
		if _, err := run(ctx, r.Names[name], "resolvconf", args...); err != nil {
			return err
		}
	}
	r.Names = nil
	return r.Save()
}
