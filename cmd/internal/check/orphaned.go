package check

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/files"
	"wgkeys/keyring/parallel"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// orphaned finds keys of hosts that no tunnel names: a removed host leaves its secrets
// behind, and a misspelled one gets none.
func (c *checker) orphaned() error {
	c.passedOver()
	c.misplaced()
	if c.unknown {
		return nil
	}
	hosts, err := c.repo.Vault.Hosts()
	if err != nil {
		return err
	}
	named, inTunnel := make(map[string]bool, len(c.hosts)), make(map[[2]string]bool, len(c.hosts))
	for _, h := range c.hosts {
		named[h.host], inTunnel[[2]string{h.tunnel, h.host}] = true, true
	}
	asked := map[[3]string]bool{} // tunnel, host and peer of each preshared key that was checked
	for _, t := range c.parsed {
		for _, p := range t.PSKPairs() {
			asked[[3]string{t.Name, p[0], p[1]}], asked[[3]string{t.Name, p[1], p[0]}] = true, true
		}
	}
	reports := make([]report, len(hosts))
	errs := make([]error, len(hosts))
	parallel.Queue(len(hosts), func(i int) {
		reports[i].dir = c.dir
		errs[i] = c.orphanedHost(&reports[i], hosts[i], named[hosts[i]], inTunnel, asked)
	})
	for _, r := range reports {
		c.found = append(c.found, r.found...)
	}
	return errors.Join(append(errs, c.orphanedPublic(named, inTunnel))...)
}

// passedOver finds folders with keys that no verb reads: rekey would not encrypt them
// again.
func (c *checker) passedOver() {
	entries, _ := c.repo.Snapshot.List(c.repo.Dir, c.repo.Vault.Dir) // an error is reported elsewhere
	for _, e := range entries {
		why := "is a link"
		if e.IsDir() {
			if keyring.CheckHost(e.Name()) == nil {
				continue
			}
			why = "is not the name of a host"
		} else if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		path := filepath.Join(c.repo.Vault.Dir, e.Name())
		f := Finding{Check: "orphaned", Hint: "move what is in " + ui.Quoted(path) + " to the folder of a host, or remove it"}
		in, _ := c.repo.Snapshot.List(c.repo.Dir, path)
		if slices.ContainsFunc(in, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ".age") }) {
			c.add(f, path, 0, "rekey passes over the keys in %q, which %s", c.relative(path), why)
		}
	}
}

// misplaced finds vault files that no verb reads, in folders of hosts and beside them:
// rekey would not encrypt those again either. Temporary files of a killed command are left
// to the next one, which removes them.
func (c *checker) misplaced() {
	if c.repo.Snapshot == nil {
		return
	}
	dir := c.repo.Vault.Dir + string(filepath.Separator)
	c.repo.Snapshot.Walk(func(at files.Place, mode fs.FileMode) {
		if !mode.IsRegular() || !strings.HasSuffix(at.Name, ".age") {
			return
		}
		path := at.Path()
		below, ok := strings.CutPrefix(path, dir)
		if !ok || c.repo.Vault.Holds(path) {
			return
		}
		host, name, inFolder := strings.Cut(below, string(filepath.Separator))
		if files.IsTemporary(name) && keyring.CheckHost(host) == nil {
			return
		}
		if inFolder && keyring.CheckHost(host) != nil && filepath.Dir(below) == host {
			return // see passedOver
		}
		f := Finding{Check: "orphaned", Hint: "rm " + ui.Quoted(path) + ", or give it the place and the name of a vault file"}
		c.add(f, path, 0, "rekey passes over %q, which is not a vault file of a host", c.relative(path))
	})
}

// orphanedHost finds keys of a host in the vault that no tunnel asks for.
func (c *checker) orphanedHost(r *report, host string, named bool, inTunnel map[[2]string]bool,
	asked map[[3]string]bool) error {
	files, err := c.repo.Vault.List(host)
	switch {
	case err != nil:
		return err
	case !named:
		r.unnamed(c, host, files)
		return nil
	}
	f := Finding{Check: "orphaned", Host: host}
	for _, file := range files {
		name, peer := repo.OwnerOf(file)
		path := c.repo.Vault.Path(host, file)
		f.Tunnel, f.Hint = name, "rm "+ui.Quoted(path)
		switch {
		case !inTunnel[[2]string{name, host}]:
			r.add(f, path, 0, "the vault has %s of host %q, which is not in tunnel %q", file, host, name)
		case peer != "" && !inTunnel[[2]string{name, peer}]:
			r.add(f, path, 0, "the vault has %s of host %q, and its peer %q is not in tunnel %q", file, host, peer, name)
		case peer != "" && !asked[[3]string{name, host, peer}]:
			c.unasked(r, f, path, file)
		}
	}
	return nil
}

// unnamed finds what the vault has of a host that no tunnel names.
func (r *report) unnamed(c *checker, host string, files []string) {
	if len(files) == 0 {
		r.misspelledList(c, host)
		return
	}
	f := Finding{Check: "orphaned", Host: host}
	f.Hint = fmt.Sprintf("write [hosts.%s] into a tunnel file, or: rm -rf %s %s", host,
		ui.Quoted(filepath.Join(c.repo.Vault.Dir, host)), ui.Quoted(filepath.Join(c.repo.Ring.Dir, host)))
	if len(c.parsed) == 0 { // without all tunnels it is not known which hosts are gone
		f.Hint = noTunnelFile(c.repo.Dir)
	}
	r.add(f, c.repo.Vault.Path(host, files[0]), 0, "no tunnel names host %q, and the vault has keys of it: %s", host,
		strings.Join(files, ", "))
	for _, file := range files {
		if meta, err := c.repo.Vault.Meta(host, file); err == nil {
			c.opens(r, f, file, meta)
		} else {
			r.fault(f, err)
		}
	}
}

// misspelledList finds a list of recipients for a host that no tunnel names and whose name is
// nearly that of one: the keys of the host that is meant are encrypted to others. The list of a
// host that is not there yet is none.
func (r *report) misspelledList(c *checker, host string) {
	hosts := map[string]bool{}
	for _, h := range c.hosts {
		hosts[h.host] = true
	}
	meant := words.Nearest(host, maps.Keys(hosts))
	if meant == "" {
		return
	}
	dir := filepath.Join(c.repo.Vault.Dir, host)
	entries, _ := c.repo.Snapshot.List(c.repo.Dir, dir) // an error is reported elsewhere
	there, _ := c.repo.Snapshot.List(c.repo.Dir, filepath.Join(c.repo.Vault.Dir, meant))
	for _, e := range entries {
		same := func(of fs.DirEntry) bool { return of.Name() == e.Name() }
		if !repo.IsRecipients(e.Name()) || slices.ContainsFunc(there, same) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f := Finding{Check: "orphaned", Host: host, Hint: fmt.Sprintf(
			"if %[1]s is meant: mkdir -p %[2]s && mv %[3]s %[2]s/, then wgkeys rekey %[1]s; else: write [hosts.%[4]s] into a tunnel file",
			meant, ui.Quoted(filepath.Join(c.repo.Vault.Dir, meant)), ui.Quoted(path), host)}
		r.add(f, path, 0, "no tunnel names host %q, so nothing is encrypted to its list of recipients %q", host,
			r.relative(path))
	}
}

// noTunnelFile is the hint if all tunnel files are missing: none is written yet, or a checkout
// has some folders only, or an accident. Removing all keys would be wrong then.
func noTunnelFile(dir string) string {
	return "there is no tunnel file at all: write " + tunnel.Dir + "/wg0.toml, or if it was committed: git -C " +
		ui.Quoted(dir) + " checkout HEAD -- " + tunnel.Dir
}

// unasked checks a preshared key that no tunnel file asks for any more. It may still be in
// use on the hosts, and rekey treats it as any other, so its recipients are checked, and
// whether it opens.
func (c *checker) unasked(r *report, f Finding, path, file string) {
	switch meta, err := c.repo.Vault.Meta(f.Host, file); {
	case err == nil:
		c.lists.compare(r, f, file, path, meta)
		c.opens(r, f, file, meta)
	case errors.Is(err, vault.ErrNoMeta):
		f.Check, f.Hint = "recipients", "wgkeys rekey "+f.Host
		r.add(f, path, 0, noMeta, file, f.Host)
	default:
		r.fault(f, err)
	}
}

// opens checks whether a file opens, and holds what its metadata says.
func (c *checker) opens(r *report, f Finding, file string, meta vault.Meta) {
	if c.ids == nil {
		return
	}
	var err error
	if meta.PSK != "" {
		_, err = c.repo.Vault.OpenPSK(f.Host, file, meta.PSK, c.ids)
	} else {
		_, err = c.repo.Vault.OpenKey(f.Host, file, meta.PublicKey, c.ids)
	}
	if err != nil {
		f.Hint = ""
		r.fault(f, err)
	}
}

// orphanedPublic finds public keys of hosts that no tunnel names. A host that also has keys
// in the vault was reported before.
func (c *checker) orphanedPublic(named map[string]bool, inTunnel map[[2]string]bool) error {
	return c.repo.EachPublic(func(host, name, path string) {
		f := Finding{Check: "orphaned", Host: host, Tunnel: strings.TrimSuffix(name, ".next")}
		switch {
		case !named[host]:
			if files, _ := c.repo.Vault.List(host); len(files) > 0 {
				return
			}
			f.Hint = fmt.Sprintf("write [hosts.%s] into a tunnel file, or: rm -r %s", host,
				ui.Quoted(filepath.Join(c.repo.Ring.Dir, host)))
			if len(c.parsed) == 0 {
				f.Hint = noTunnelFile(c.repo.Dir)
			}
			c.add(f, path, 1, "no tunnel names host %q, and the keyring has a key of it: %s", host, c.relative(path))
		case named[host] && !inTunnel[[2]string{f.Tunnel, host}]:
			f.Hint = "rm " + ui.Quoted(path)
			c.add(f, path, 1, "the keyring has a key of host %q in tunnel %q, which does not name it", host, f.Tunnel)
		}
	})
}
