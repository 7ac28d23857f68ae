package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

func checkCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:  "check",
		Usage: "find what is wrong in the repository, without any secret",
		Description: "Tunnel files, missing keys, vault files that do not belong to the public key,\n" +
			"preshared keys with one end missing, recipients that are out of date, keys of\n" +
			"hosts that no tunnel names, rotations under way, keys older than max_key_age in\n" +
			"wgkeys.toml. Exit code 4 if there is a finding.",
		Flags: []cli.Flag{tunnelFlag, jsonFlag},
	}, doCheck
}

// A finding is something wrong, and what to do about it.
type finding struct {
	Tunnel string `json:"tunnel,omitempty"`
	Host   string `json:"host,omitempty"`
	What   string `json:"what"`
	Hint   string `json:"hint,omitempty"`
}

func doCheck(e *env) error {
	r, err := e.repo()
	if err != nil {
		return err
	}
	names, err := r.tunnelNames(e)
	if err != nil {
		return err
	}
	c := &checker{repo: r, now: time.Now(), found: []finding{}, named: map[string]bool{}}
	for _, name := range names {
		if err := c.tunnel(name); err != nil {
			return err
		}
	}
	if e.cli.String("tunnel") == "" {
		if err := c.strangers(); err != nil {
			return err
		}
	}
	if err := c.tell(e); err != nil {
		return err
	}
	if len(c.found) > 0 {
		return &exitError{code: exitFindings}
	}
	return nil
}

type checker struct {
	repo    *repo
	now     time.Time
	found   []finding
	named   map[string]bool // the hosts of all tunnels
	unknown bool            // the hosts of one are not known
}

func (c *checker) tell(e *env) error {
	if e.cli.Bool("json") {
		return e.ui.json(c.found)
	}
	for _, f := range c.found {
		e.ui.printf("%s\n", f.What)
		if f.Hint != "" {
			e.ui.printf("  hint: %s\n", f.Hint)
		}
	}
	if len(c.found) == 0 {
		e.ui.say("nothing found")
	}
	return nil
}

// add finds something once: what is wrong with a file of all hosts is not wrong
// with each of them.
func (c *checker) add(tunnel, host, hint, what string, args ...any) {
	f := finding{tunnel, host, fmt.Sprintf(what, args...), hint}
	if !slices.ContainsFunc(c.found, func(g finding) bool { return g.What == f.What }) {
		c.found = append(c.found, f)
	}
}

// fault adds an error as a finding.
func (c *checker) fault(tunnel, host string, err error) {
	hint := ""
	if hints := fault.Hints(err); len(hints) > 0 {
		hint = hints[0]
	}
	c.add(tunnel, host, hint, "%v", err)
}

// tunnel checks one tunnel. What is wrong with its file is a finding; an error
// is that it cannot be read at all.
func (c *checker) tunnel(name string) error {
	t, err := tunnel.Parse(c.repo.tunnels(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		c.fault(name, "", err)
		c.unknown = true
		return nil
	}
	for _, host := range t.Hosts() {
		c.named[host] = true
		c.key(name, host)
		c.rotation(name, host)
		if _, err := c.repo.view(t, host); err != nil && !c.lacksKey(name, t) {
			c.fault(name, host, err)
		}
	}
	for _, pair := range t.PSKPairs() {
		c.psk(name, pair[0], pair[1])
	}
	return nil
}

// strangers finds vault files of hosts that no tunnel names: a host that is gone
// leaves secrets behind, and a host that is misspelled gets none.
func (c *checker) strangers() error {
	hosts, err := c.repo.vault.Hosts()
	if err != nil || c.unknown {
		return err
	}
	for _, host := range hosts {
		files, err := c.repo.vault.List(host)
		if err != nil {
			return err
		}
		if len(files) > 0 && !c.named[host] {
			c.add("", host, fmt.Sprintf("write [hosts.%s] into a tunnel file, or: rm -r vault/%[1]s keyring/%[1]s", host),
				"no tunnel names host %q, and the vault has keys of it: %s", host, strings.Join(files, ", "))
		}
	}
	return nil
}

// lacksKey reports whether a host has no public key: that is found by itself,
// and every view of its peers fails for it.
func (c *checker) lacksKey(name string, t *tunnel.Tunnel) bool {
	for _, host := range t.Hosts() {
		if _, err := c.repo.ring.Get(host, name); err != nil {
			return true
		}
	}
	return false
}

// key checks a host's key pair and whom its private half is encrypted to.
func (c *checker) key(name, host string) {
	public, err := c.repo.ring.Get(host, name)
	if errors.Is(err, fs.ErrNotExist) {
		c.add(name, host, "wgkeys gen "+host, "host %q has no public key in tunnel %q", host, name)
		return
	}
	if err != nil {
		c.fault(name, host, err)
		return
	}
	file := vault.KeyFile(name)
	meta, err := c.repo.vault.Meta(host, file)
	switch {
	case errors.Is(err, vault.ErrNoMeta): // made by stock age: nothing is known about it
	case errors.Is(err, fs.ErrNotExist):
		c.add(name, host, "bring it back from git: git log -- "+c.repo.vault.Path(host, file)+"; if "+host+" made its key itself: wgkeys push "+host+" asks whether it still has it",
			"host %q has a public key in tunnel %q, and no private one in the vault", host, name)
	case err != nil:
		c.fault(name, host, err)
	case meta.PublicKey != public && c.half(name, host): // see rotation
	case meta.PublicKey != public:
		c.add(name, host, "git log -p -- "+c.repo.ring.Path(host, name),
			"the private key of host %q in tunnel %q belongs to %s, and the keyring has %s", host, name, meta.PublicKey, public)
	default:
		c.recipients(name, host, file, meta)
		if c.repo.tooOld(meta, c.now) {
			c.add(name, host, "wgkeys rotate "+host, "the key of host %q in tunnel %q was made %d days ago, and max_key_age in %s is %v",
				host, name, int(c.now.Sub(meta.Created)/day), marker, inDays(c.repo.maxKeyAge))
		}
	}
}

func (c *checker) half(name, host string) bool {
	r, err := c.repo.changeOf(host, name)
	return err == nil && r.half
}

// rotation finds one that is not over, and how far it is.
func (c *checker) rotation(name, host string) {
	r, err := c.repo.changeOf(host, name)
	if err == nil {
		err = r.mismatch(c.repo, host, name)
	}
	rotate := "wgkeys rotate " + host
	switch {
	case err != nil:
		c.fault(name, host, err)
	case r.half:
		c.add(name, host, rotate, "a rotation of host %q in tunnel %q is over, but for %s: the private key in the vault is the next one already",
			host, name, c.repo.ring.Path(host, keyring.Next(name)))
	case r.sealed && r.next.IsZero():
		c.add(name, host, rotate, "a rotation of host %q in tunnel %q was begun: its next key is in the vault, and %s is missing",
			host, name, c.repo.ring.Path(host, keyring.Next(name)))
	case r.sealed:
		c.add(name, host, rotate, "a rotation of host %q in tunnel %q is under way: its hosts may use the old key or the next", host, name)
		c.nextRecipients(name, host)
	case r.underway():
		c.add(name, host, rotate+"; if it was lost: git log -- "+c.repo.vault.Path(host, vault.KeyFile(keyring.Next(name))),
			"a rotation of host %q in tunnel %q is under way, and its next private key is not in the vault: the host made it itself, or it was lost", host, name)
	}
}

func (c *checker) nextRecipients(name, host string) {
	file := vault.KeyFile(keyring.Next(name))
	if meta, err := c.repo.vault.Meta(host, file); err == nil {
		c.recipients(name, host, file, meta)
	}
}

func (c *checker) recipients(name, host, file string, meta vault.Meta) {
	want, err := c.repo.vault.Recipients(host)
	if err != nil {
		c.fault(name, host, err)
		return
	}
	missing, stale := want.Compare(meta.Recipients)
	for _, r := range missing {
		c.add(name, host, "", "%s of host %q is not encrypted to %s", file, host, r)
	}
	for _, f := range stale {
		c.add(name, host, "", "%s of host %q is still encrypted to a recipient that is no longer listed (fingerprint %s)", file, host, f)
	}
}

// psk checks that a pair has both halves of its preshared key, and that they
// are one secret.
func (c *checker) psk(name, a, b string) {
	metaA, errA := c.repo.vault.Meta(a, name+"."+b+".psk")
	metaB, errB := c.repo.vault.Meta(b, name+"."+a+".psk")
	for _, half := range []struct {
		host, peer string
		err        error
	}{{a, b, errA}, {b, a, errB}} {
		host, peer, err := half.host, half.peer, half.err
		if errors.Is(err, fs.ErrNotExist) {
			c.add(name, host, "wgkeys gen "+host, "host %q lacks its end of the preshared key with %q in tunnel %q", host, peer, name)
		} else if err != nil && !errors.Is(err, vault.ErrNoMeta) {
			c.fault(name, host, err)
		}
	}
	if errA == nil && errB == nil && metaA.PSK != metaB.PSK {
		c.add(name, a, "remove both files, then wgkeys gen "+a+", and push both hosts at once",
			"hosts %q and %q have different preshared keys with each other in tunnel %q", a, b, name)
	}
}
