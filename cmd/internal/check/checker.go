package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/files"
	"wgkeys/keyring/parallel"
	"wgkeys/vault"
)

// A checker checks the repository, several hosts at once.
type checker struct {
	report
	repo   *repo.Repo
	now    time.Time
	ids    *vault.Identities // nil: nothing is opened
	lists  *recipientLists
	all    bool          // every tunnel, and keys that no tunnel names
	places []vault.Place // where the user's identities are

	parsed  []*tunnel.Tunnel
	unknown bool // true if the hosts of a tunnel are not known
	hosts   []*hostCheck

	meanwhile []meanwhile
}

// tunnels checks the tunnels. An invalid file is a finding; an error means that it cannot
// be read at all.
func (c *checker) tunnels(names []string) error {
	for _, name := range names {
		t, err := repo.Parse(c.repo, name)
		if errors.Is(err, fs.ErrNotExist) || tunnel.CheckName(name) != nil { // of the command line
			return err
		}
		if err != nil {
			c.fault(Finding{Check: "tunnel", Tunnel: name}, err)
			c.unknown = true
			continue
		}
		c.parsed = append(c.parsed, t)
		names := t.Hosts()
		hosts := make([]hostCheck, len(names))
		c.hosts = slices.Grow(c.hosts, len(names))
		for i, host := range names {
			hosts[i] = hostCheck{checker: c, report: report{dir: c.dir}, tunnel: name, host: host,
				unmanaged: t.Unmanaged(host)}
			c.hosts = append(c.hosts, &hosts[i])
		}
	}
	parallel.Queue(len(c.hosts), func(i int) { c.hosts[i].run() })
	for _, h := range c.hosts {
		c.found = append(c.found, h.found...)
	}
	for _, t := range c.parsed {
		c.psks(t)
	}
	return nil
}

// duplicates finds one key on two hosts, or on one host in two tunnels.
func (c *checker) duplicates() {
	type place struct{ host, name string }
	owner := make(map[keyring.PublicKey]place, len(c.hosts))
	add := func(h *hostCheck, name string, key keyring.PublicKey) {
		if key.IsZero() {
			return
		}
		if first, ok := owner[key]; ok {
			path, other := c.repo.Ring.Path(h.host, name), c.repo.Ring.Path(first.host, first.name)
			what := "two hosts with one public key"
			if filepath.Dir(other) == filepath.Dir(path) {
				what = "two tunnels with one public key"
			}
			c.add(Finding{Check: "key", Tunnel: h.tunnel, Host: h.host,
				Hint: fmt.Sprintf("git log -- %s; for another key: rm %s, then %s", ui.Quoted(path),
					repo.Existing(path, c.repo.Vault.Path(h.host, vault.KeyFile(name))),
					repo.Commands(c.repo, h.tunnel).Run("gen", h.host))},
				path, 1, "%s %q: the same key is in %s", what, c.relative(path), c.relative(other))
			return
		}
		owner[key] = place{h.host, name}
	}
	for _, h := range c.hosts {
		add(h, h.tunnel, h.public)
		if h.change.Next != h.public || !h.change.VaultPromoted {
			add(h, keyring.Next(h.tunnel), h.change.Next)
		}
	}
}

// psks checks the preshared keys that the tunnel file asks for: that both files exist and
// hold the same key.
func (c *checker) psks(t *tunnel.Tunnel) {
	pairs := t.PSKPairs()
	reports := make([]report, len(pairs))
	parallel.Queue(len(pairs), func(i int) {
		reports[i].dir = c.dir
		c.psk(&reports[i], t.Name, pairs[i][0], pairs[i][1])
	})
	for _, r := range reports {
		c.found = append(c.found, r.found...)
	}
}

func (c *checker) psk(r *report, name, a, b string) {
	mine, other := c.repo.PSKFile(name, a, b), c.repo.PSKFile(name, b, a)
	for _, h := range []repo.PSKFile{mine, other} {
		f := Finding{Check: "psk", Tunnel: name, Host: h.Host, Hint: repo.Commands(c.repo, name).Run("gen", h.Host)}
		switch {
		case h.Missing():
			f.lacks = h.Path
			r.add(f, h.Path, 0, "host %q lacks its end of the preshared key with %q in tunnel %q", h.Host,
				repo.PeerOf(name, h.File), name)
		case errors.Is(h.Err, vault.ErrNoMeta):
			f.Check, f.Hint = "recipients", "wgkeys rekey "+h.Host
			r.add(f, h.Path, 0, noMeta, h.File, h.Host)
			c.byHand(r, f, h)
		case h.Err != nil:
			r.fault(f, h.Err)
		default:
			c.lists.compare(r, f, h.File, h.Path, h.Meta)
		}
	}
	if mine.Err == nil && other.Err == nil {
		c.alike(r, name, mine, other)
	}
}

// byHand checks whether a rekey would accept a preshared key without metadata.
func (c *checker) byHand(r *report, f Finding, h repo.PSKFile) {
	if c.ids == nil {
		return
	}
	n := vault.Name{Host: h.Host, File: h.File}
	want, err := c.repo.Expected(n)
	switch {
	case err != nil: // reported for the other host
		return
	case want.PSK != "":
		_, err = c.repo.Vault.OpenPSK(h.Host, h.File, want.PSK, c.ids)
	default:
		err = vault.CompareByHand(c.repo.Vault, n, want.Other, c.ids)
	}
	if err != nil {
		f.Check, f.Hint = "psk", ""
		r.fault(f, err)
	}
}

// alike checks whether both files of a preshared key hold the same one.
func (c *checker) alike(r *report, name string, mine, other repo.PSKFile) {
	a, b := mine.Host, other.Host
	f := Finding{Check: "psk", Tunnel: name, Host: a}
	if mine.PSK != other.PSK {
		f.Hint = fmt.Sprintf("git log -- %s %s; for a new one: %s", ui.Quoted(mine.Path), ui.Quoted(other.Path),
			repo.Commands(c.repo, name).Run("rotate --psk", a))
		r.add(f, mine.Path, 0, "hosts %q and %q have different preshared keys with each other in tunnel %q", a, b, name)
		return
	}
	if c.ids == nil {
		return
	}
	for _, h := range []repo.PSKFile{mine, other} {
		if _, err := c.repo.Vault.OpenPSK(h.Host, h.File, mine.PSK, c.ids); err != nil {
			f.Host = h.Host
			r.fault(f, err)
		}
	}
}

// modes finds identity files that others can read, and files of the repository that
// everybody may write. Others may read vault files, as in every clone: git keeps no such
// mode, and they are ciphertext.
func (c *checker) modes() {
	for _, p := range c.places {
		info, err := os.Stat(p.Path)
		if err == nil && files.HasModes && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			c.add(Finding{Check: "mode", Hint: "chmod 600 " + ui.Quoted(p.Path)}, "", 0,
				"others can read the identity file %q: its mode is %04o", p.Path, info.Mode().Perm())
		}
	}
	c.openFiles()
}

// openFiles finds what everybody may write. Where that is all of the repository, and there is one
// mode, it is said once: so it is on a file system without modes, as of a USB stick.
func (c *checker) openFiles() {
	if !files.HasModes {
		return
	}
	type place struct {
		path string
		mode fs.FileMode
	}
	var open []place
	all, same := 0, true
	look := func(at files.Place, mode fs.FileMode) {
		if all++; mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
			open = append(open, place{at.Path(), mode.Perm()})
			same = same && mode.Perm() == open[0].mode
		}
	}
	marker := files.Place{Folder: c.dir, Name: repo.Marker}
	if info, err := os.Lstat(marker.Path()); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		look(marker, info.Mode())
	}
	c.repo.Snapshot.Walk(look)
	if same && len(open) == all && all > 1 {
		hint := fmt.Sprintf("chmod -R o-w %s; where that is refused, as on vfat and exFAT: mount it with umask=022",
			ui.Quoted(c.dir))
		c.add(Finding{Check: "mode", Hint: hint}, "", 0, "everybody may write all of %q: the modes are %04o", c.dir,
			open[0].mode)
		return
	}
	for _, p := range open {
		c.add(Finding{Check: "mode", Hint: "chmod o-w " + ui.Quoted(p.path)}, p.path, 0,
			"everybody may write %q: its mode is %04o", c.relative(p.path), p.mode)
	}
}
