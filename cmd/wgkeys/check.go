package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/vault"
)

func checkCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:  "check",
		Usage: "find what is wrong in the repository, without any secret",
		Description: "Tunnel files, missing and duplicate keys, vault files that do not belong to the\n" +
			"public key, preshared keys with one end missing, recipients that are out of date,\n" +
			"keys of hosts that no tunnel names, rotations under way, keys older than\n" +
			"max_key_age in wgkeys.toml, files that others may change, and secret keys in the\n" +
			"clear anywhere in the working tree. With -i also whether every vault file opens.\n" +
			"Exit code 4 if there is a finding.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "staged", Usage: "search what is staged in git for secrets in the clear, and nothing else"},
			&cli.BoolFlag{Name: "history", Usage: "search all of git's history for secrets in the clear, too"},
			&cli.StringFlag{Name: "leaver", Usage: "find the keys in use that `RECIPIENT` could ever read, and nothing else"},
			&cli.StringFlag{Name: "annotate", Usage: "write findings for a code host: `github` or gitlab"},
			tunnelFlag, identityFlag, jsonFlag,
		},
	}, doCheck
}

func doCheck(e *env) error {
	format := e.cli.String("annotate")
	if format != "" && (annotators[format] == nil || e.cli.Bool("json")) {
		return ui.Usage("cannot annotate for", format, "the forms are "+strings.Join(slices.Sorted(maps.Keys(annotators)), " and ")+", and not with --json",
			"wgkeys check --annotate github")
	}
	if err := e.oneSearch(); err != nil {
		return err
	}
	r, err := e.repo()
	if err != nil {
		return err
	}
	found, err := findings(r, e)
	if err != nil {
		return err
	}
	if err := tellFindings(e, r, unique(found)); err != nil {
		return err
	}
	if len(found) > 0 {
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return nil
}

// oneSearch refuses flags of which all but one would be passed over: what was not
// looked at would count as good.
func (e *env) oneSearch() error {
	if err := e.namesLeaver(); err != nil {
		return err
	}
	var given []string
	for _, name := range []string{"staged", "leaver", "history"} {
		if e.cli.Bool(name) || name == "leaver" && e.cli.IsSet(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 0 && e.cli.String("tunnel") != "" {
		given = append(given, "-t")
	}
	if len(given) < 2 {
		return nil
	}
	why := "each looks for something else; one at a time"
	if given[1] == "-t" {
		why = "it looks at all tunnels"
	}
	hint := "wgkeys check " + given[0]
	if given[0] == "--leaver" {
		hint += " " + ui.Quoted(e.cli.String("leaver"))
	}
	return ui.Usage("cannot go together:", strings.Join(given, " and "), why, hint)
}

// findings are those of what was asked for.
func findings(r *repo.Repo, e *env) ([]finding, error) {
	if e.cli.String("tunnel") == "" {
		defer r.TakeSnapshot()()
	}
	switch {
	case e.cli.Bool("staged"):
		return stagedSecrets(r, e.ctx)
	case e.cli.String("leaver") != "":
		return leaverFindings(r, e)
	}
	names, err := r.TunnelNames(e.cli.String("tunnel"))
	if err != nil {
		return nil, err
	}
	c := &checker{report: report{dir: r.Dir}, repo: r, now: time.Now(), lists: newRecipientLists(r), all: e.cli.String("tunnel") == ""}
	if len(e.cli.StringSlice("identity")) > 0 {
		c.ids = e.identities()
		defer e.warnLoose(c.ids)
		if err := prepareAll(r, c.ids); err != nil {
			return nil, err
		}
	}
	if err := c.tunnels(names); err != nil {
		return nil, err
	}
	if e.ctx.Err() != nil { // and what was not opened is no finding
		return nil, vault.ErrInterrupted
	}
	c.duplicates()
	c.shared()
	if !c.all {
		return c.found, nil
	}
	c.modes()
	c.gits(e.ctx)
	if err := c.strangers(); err != nil {
		return nil, err
	}
	c.hintRename()
	if err := c.secrets(); err != nil || !e.cli.Bool("history") {
		return c.found, err
	}
	past, err := pastSecrets(r, e.ctx)
	return append(c.found, past...), err
}

func tellFindings(e *env, r *repo.Repo, found []finding) error {
	if annotate := annotators[e.cli.String("annotate")]; annotate != nil {
		return annotate(e.ui, fromTop(r.Dir, found))
	}
	if e.cli.Bool("json") {
		return e.ui.JSON(found)
	}
	for _, f := range found {
		e.ui.Printf("%s\n", f.What)
		if f.Hint != "" {
			e.ui.Printf("  hint: %s\n", f.Hint)
		}
	}
	if len(found) == 0 {
		e.sayNothing(r)
	}
	return nil
}

// A checker goes through the repository, hosts beside each other.
type checker struct {
	report
	repo  *repo.Repo
	now   time.Time
	ids   *vault.Identities // nil: nothing is opened
	lists *recipientLists
	all   bool // every tunnel, and what no tunnel names

	parsed  []*tunnel.Tunnel
	unknown bool // the hosts of a tunnel are not known
	hosts   []*hostCheck
}

// tunnels checks the tunnels. What is wrong with a file is a finding; an error is
// that it cannot be read at all.
func (c *checker) tunnels(names []string) error {
	for _, name := range names {
		t, err := tunnel.Parse(c.repo.Tunnels(), name)
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			c.fault(finding{Check: "tunnel", Tunnel: name}, err)
			c.unknown = true
			continue
		}
		c.parsed = append(c.parsed, t)
		for _, host := range t.Hosts() {
			c.hosts = append(c.hosts, &hostCheck{checker: c, report: report{dir: c.dir}, tunnel: name, host: host})
		}
	}
	repo.Each(len(c.hosts), func(i int) { c.hosts[i].run() })
	for _, h := range c.hosts {
		c.found = append(c.found, h.found...)
	}
	for _, t := range c.parsed {
		c.psks(t)
	}
	return nil
}

// duplicates finds one key that two hosts have, or one host in two tunnels.
func (c *checker) duplicates() {
	owner := map[keyring.PublicKey]string{}
	add := func(h *hostCheck, name string, key keyring.PublicKey) {
		if key.IsZero() {
			return
		}
		path := c.repo.Ring.Path(h.host, name)
		if other, ok := owner[key]; ok {
			what := "two hosts with one public key"
			if filepath.Dir(other) == filepath.Dir(path) {
				what = "two tunnels with one public key"
			}
			c.add(finding{Check: "key", Tunnel: h.tunnel, Host: h.host,
				Hint: fmt.Sprintf("git log -- %[1]s; for another key: rm %[1]s %[2]s, then wgkeys gen %[3]s", path, c.repo.Vault.Path(h.host, vault.KeyFile(name)), h.host)},
				path, 1, "%s %q: the same key is in %s", what, c.relative(path), c.relative(other))
			return
		}
		owner[key] = path
	}
	for _, h := range c.hosts {
		add(h, h.tunnel, h.public)
		if h.change.Next != h.public || !h.change.VaultPromoted {
			add(h, keyring.Next(h.tunnel), h.change.Next)
		}
	}
}

// psks checks the preshared keys that the tunnel file asks for: both halves are
// there and are one secret.
func (c *checker) psks(t *tunnel.Tunnel) {
	pairs := t.PSKPairs()
	reports := make([]report, len(pairs))
	repo.Each(len(pairs), func(i int) {
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
		f := finding{Check: "psk", Tunnel: name, Host: h.Host, Hint: "wgkeys gen " + h.Host}
		switch {
		case h.Missing():
			r.add(f, h.Path, 0, "host %q lacks its end of the preshared key with %q in tunnel %q", h.Host, repo.PeerOf(name, h.File), name)
		case errors.Is(h.Err, vault.ErrNoMeta) && (mine.Err == nil || other.Err == nil):
			f.Check, f.Hint = "recipients", "wgkeys rekey "+h.Host
			r.add(f, h.Path, 0, noMeta, h.File, h.Host)
		case h.Err != nil:
			r.fault(f, h.Err)
		default:
			c.lists.compare(r, f, h.File, h.Path, h.Meta)
		}
	}
	if mine.Err != nil || other.Err != nil {
		return
	}
	f := finding{Check: "psk", Tunnel: name, Host: a}
	if mine.PSK != other.PSK {
		f.Hint = fmt.Sprintf("git log -- %[1]s %[2]s; or for another one: rm %[1]s %[2]s, then wgkeys gen %[3]s, and push both hosts at once", mine.Path, other.Path, a)
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

// modes finds identities that others can read, and files of the repository that
// everybody may write. Git keeps no other bits: a vault file of mode 0644, as a
// clone has it, is ciphertext.
func (c *checker) modes() {
	for _, p := range defaultPlaces() {
		if info, err := os.Stat(p.Path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			c.add(finding{Check: "mode", Hint: "chmod 600 " + p.Path}, "", 0,
				"others can read the identity file %q: its mode is %04o", p.Path, info.Mode().Perm())
		}
	}
	open := func(path string, mode fs.FileMode) {
		if mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
			c.add(finding{Check: "mode", Hint: "chmod o-w " + path}, path, 0, "everybody may write %q: its mode is %04o", c.relative(path), mode.Perm())
		}
	}
	path := filepath.Join(c.dir, repo.Marker)
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		open(path, info.Mode())
	}
	c.repo.Snapshot.Walk(open)
}

// sayNothing tells that nothing was found, and where nobody was asked who knows more.
func (e *env) sayNothing(r *repo.Repo) {
	if r.Tops() == nil {
		e.ui.Say("nothing found in the files; they are not in git, so nobody knows what is in no commit, and there is no history: git init %s", ui.Quoted(r.Dir))
		return
	}
	e.ui.Say("nothing found")
}
