package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

func mvCommand() (*cli.Command, func(*env) error) {
	return &cli.Command{
		Name:      "mv",
		Usage:     "give a host, or with -t a tunnel, another name",
		ArgsUsage: "HOST NEW | -t TUNNEL NEW",
		Description: "The keys stay the same. The name is a part of each vault file, so those are opened\n" +
			"and encrypted again; everything is opened before anything is written. Tunnel files\n" +
			"keep their comments and their order. Where git mv has moved files already, this\n" +
			"does the rest. Nothing is done on a host: what is left to do there is told.",
		Flags: []cli.Flag{tunnelFlag, identityFlag, dryRunFlag, commitFlag,
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}},
	}, doMv
}

func doMv(e *env) error {
	r, err := e.writingUnlessDry()
	if err != nil {
		return err
	}
	if err := r.RequireCheckedOut(e.ctx); err != nil {
		return err
	}
	m, err := newMover(e, r)
	if err != nil {
		return err
	}
	if err := m.plan(); err != nil {
		return err
	}
	if e.cli.Bool("dry-run") {
		m.tell("to be ")
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	ids := e.identities()
	defer e.warnLoose(ids)
	if err := m.open(ids); err != nil {
		return err
	}
	if err := m.ask(); err != nil {
		return err
	}
	err = m.write()
	if err == nil {
		m.tell("")
		m.sayNext()
	}
	return r.Changes.Commit(e.ctx, e.ui, "mv", []string{m.old + " is called " + m.new + " from now on"}, err)
}

// A mover gives a host or a tunnel another name, wherever the repository has it.
type mover struct {
	*env
	repo     *repo.Repo
	old, new string
	isTunnel bool

	moves  []*vault.Move
	public [][2]repo.HostKey // from, to
	lists  [][2]string       // paths of recipients files
	texts  []textMove
	peers  []string // hosts whose files change that are not the one renamed
}

// A textMove is a tunnel file that changes, or gets another name.
type textMove struct {
	from, to  string
	was, text []byte
}

func newMover(e *env, r *repo.Repo) (*mover, error) {
	m := &mover{env: e, repo: r}
	names, t := e.names(), e.cli.String("tunnel")
	check, what := keyring.CheckHost, "no host can be named"
	switch {
	case t != "" && len(names) == 1:
		m.old, m.new, m.isTunnel = t, names[0], true
		check, what = tunnel.CheckName, "no tunnel can be named"
	case t == "" && len(names) == 2:
		m.old, m.new = names[0], names[1]
	default:
		return nil, ui.Usage("too few names, or too many, for", "wgkeys mv", "it takes a host and its new name, or with -t TUNNEL the tunnel's new name", "wgkeys mv --help")
	}
	for _, name := range []string{m.old, m.new} {
		if err := check(name); err != nil {
			return nil, fault.Wrap(err, what, name, "")
		}
	}
	if m.old == m.new {
		return nil, ui.Usage("it is called so already:", m.new, "a new name is another one", "wgkeys mv --help")
	}
	return m, nil
}

// key and name are what a public key and a vault file are called afterwards; back, what
// they were called before.
func (m *mover) key(k repo.HostKey) repo.HostKey { return renamedKey(k, m.old, m.new, m.isTunnel) }

func renamedKey(k repo.HostKey, old, new string, isTunnel bool) repo.HostKey {
	switch {
	case isTunnel && k.Tunnel == old:
		k.Tunnel = new
	case !isTunnel && k.Host == old:
		k.Host = new
	}
	return k
}

func (m *mover) name(n vault.Name) vault.Name { return m.renamed(n, m.old, m.new) }
func (m *mover) back(n vault.Name) vault.Name { return m.renamed(n, m.new, m.old) }

func (m *mover) renamed(n vault.Name, old, new string) vault.Name {
	of, peer := repo.OwnerOf(n.File)
	k := renamedKey(repo.HostKey{Host: n.Host, Tunnel: of}, old, new, m.isTunnel)
	if peer == "" {
		return vault.Name{Host: k.Host, File: vault.KeyFile(k.Tunnel)}
	}
	if !m.isTunnel && peer == old {
		peer = new
	}
	return vault.Name{Host: k.Host, File: k.Tunnel + "." + peer + ".psk"}
}

// plan finds all that has the name, and reads no secret.
func (m *mover) plan() error {
	if err := m.planTexts(); err != nil {
		return err
	}
	if err := m.planPublic(); err != nil {
		return err
	}
	if err := m.planVault(); err != nil {
		return err
	}
	if len(m.moves)+len(m.public)+len(m.lists)+len(m.texts) == 0 {
		return fault.New("nothing in the repository is named", m.old, "neither a tunnel file nor keyring nor vault", "wgkeys check")
	}
	return nil
}

func (m *mover) planTexts() error {
	names, err := tunnel.List(m.repo.Tunnels())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Join(m.repo.Dir, tunnel.Dir)
	if !m.isTunnel {
		for _, name := range names {
			texts, err := tunnel.RenameHost(m.repo.Tunnels(), name, m.old, m.new)
			if err != nil {
				return err
			}
			for _, t := range texts {
				path := filepath.Join(dir, filepath.FromSlash(t.Path))
				m.texts = append(m.texts, textMove{path, path, t.Was, t.Text})
			}
		}
		return nil
	}
	if !slices.Contains(names, m.old) {
		return nil
	}
	if slices.Contains(names, m.new) {
		return fault.New("there is a tunnel already that is named", m.new, "", "ls "+dir)
	}
	texts, err := tunnel.Files(m.repo.Tunnels(), m.old)
	for _, t := range texts {
		to := m.new + strings.TrimPrefix(t.Path, m.old)
		m.texts = append(m.texts, textMove{filepath.Join(dir, filepath.FromSlash(t.Path)), filepath.Join(dir, filepath.FromSlash(to)), t.Was, t.Was})
	}
	return err
}

// planPublic finds the public keys. In the middle of a rotation hosts have files of the
// old name that only its end removes.
func (m *mover) planPublic() error {
	var err error
	each := m.repo.EachPublic(func(host, name, path string) {
		k := repo.HostKey{Host: host, Tunnel: strings.TrimSuffix(name, ".next")}
		to := m.key(k)
		switch {
		case to == k:
		case keyring.IsNext(name):
			err = fault.New("a rotation is under way of host", host, path, "wgkeys rotate "+host)
		default:
			m.public = append(m.public, [2]repo.HostKey{k, to})
		}
	})
	return errors.Join(each, err)
}

func (m *mover) planVault() error {
	hosts, err := m.repo.Vault.Hosts()
	if err != nil {
		return err
	}
	for _, host := range hosts {
		all, err := m.repo.Vault.List(host)
		if err != nil {
			return err
		}
		for _, file := range all {
			if err := m.planFile(vault.Name{Host: host, File: file}); err != nil {
				return err
			}
		}
	}
	if m.isTunnel {
		return nil
	}
	for _, list := range []string{"recipients.txt", "recipients.only.txt"} {
		from := filepath.Join(m.repo.Vault.Dir, m.old, list)
		if _, err := files.Read(m.repo.Dir, from, repo.MaxFile); err == nil {
			m.lists = append(m.lists, [2]string{from, filepath.Join(m.repo.Vault.Dir, m.new, list)})
		}
	}
	return nil
}

func (m *mover) planFile(n vault.Name) error {
	move := &vault.Move{At: n, From: n, To: m.name(n)}
	if strings.HasSuffix(n.File, ".next.key") {
		if of, _ := repo.OwnerOf(n.File); m.key(repo.HostKey{Host: n.Host, Tunnel: of}) != (repo.HostKey{Host: n.Host, Tunnel: of}) {
			return fault.New("a rotation is under way of host", n.Host, m.repo.Vault.Path(n.Host, n.File), "wgkeys rotate "+n.Host)
		}
		return nil
	}
	if move.To == n { // or somebody has moved it by hand
		move.From = m.back(n)
		if move.From == n {
			return nil
		}
		if _, err := m.repo.Vault.MetaAs(n, n); err == nil {
			return nil
		}
		if _, err := m.repo.Vault.MetaAs(n, move.From); err != nil {
			return nil // it is neither's
		}
	} else if _, err := m.repo.Vault.MetaAs(n, n); err != nil { // or moves it back
		if _, err := m.repo.Vault.MetaAs(n, move.To); err == nil {
			move.From = move.To
		}
	}
	if of, peer := repo.OwnerOf(move.From.File); peer != "" {
		move.Else = []vault.Name{{Host: peer, File: of + "." + move.From.Host + ".psk"}}
	}
	if h := move.To.Host; h != m.new && !slices.Contains(m.peers, h) {
		m.peers = append(m.peers, h)
	}
	m.moves = append(m.moves, move)
	return nil
}

// open opens and seals everything.
func (m *mover) open(ids *vault.Identities) error {
	var names []vault.Name
	for _, move := range m.moves {
		names = append(names, move.At)
	}
	if err := m.repo.Vault.Prepare(ids, names); err != nil {
		return err
	}
	var errs []error
	for _, move := range m.moves {
		of, _ := repo.OwnerOf(move.At.File)
		here := repo.HostKey{Host: move.At.Host, Tunnel: of}
		public, err := m.repo.Ring.Get(here.Host, here.Tunnel)
		if errors.Is(err, fs.ErrNotExist) { // moved by hand, or by a command that was killed
			to := m.key(here)
			if public, err = m.repo.Ring.Get(to.Host, to.Tunnel); errors.Is(err, fs.ErrNotExist) {
				public, err = m.repo.Ring.Get(move.From.Host, strings.TrimSuffix(move.From.File, ".key"))
			}
		}
		if err != nil && strings.HasSuffix(move.At.File, ".key") {
			return err
		}
		err = m.repo.Vault.PrepareMove(move, ids, public)
		if errors.Is(err, vault.ErrNoIdentity) && m.repo.Vault.Sealed(move.At.Host) {
			err = fault.Wrap(err, "only it can open its keys: host", move.At.Host,
				fmt.Sprintf("on %s, in a clone of the repository: wgkeys mv -y %s -i /etc/ssh/ssh_host_ed25519_key", move.At.Host, m.arguments()))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (m *mover) arguments() string {
	if m.isTunnel {
		return "-t " + m.old + " " + m.new
	}
	return m.old + " " + m.new
}

func (m *mover) ask() error {
	if m.cli.Bool("yes") {
		return nil
	}
	yes, err := m.ui.Confirm(fmt.Sprintf("call %s %s, in %d vault files, %d public keys and %d tunnel files?", m.old, m.new, len(m.moves), len(m.public), len(m.texts)))
	if err == nil && !yes {
		err = ui.ExitWith(ui.ExitFailed, nil)
	}
	return err
}

// write writes what is new, then the tunnel files, and removes what is old at the end:
// whatever stops it, every key is there under one of its names, and the same command
// does the rest.
func (m *mover) write() error {
	for _, list := range m.lists {
		if err := m.copyList(list); err != nil {
			return err
		}
	}
	for _, move := range m.moves {
		m.repo.Changes.Touch(m.repo.Vault.Path(move.To.Host, move.To.File))
		if err := m.repo.Vault.Finish(move); err != nil {
			return err
		}
	}
	for _, k := range m.public {
		if err := m.copyPublic(k[0], k[1]); err != nil {
			return err
		}
	}
	for _, t := range m.texts {
		if err := m.writeText(t); err != nil {
			return err
		}
	}
	return m.removeOld()
}

func (m *mover) copyList(list [2]string) error {
	text, err := files.Read(m.repo.Dir, list[0], repo.MaxFile)
	if err == nil {
		m.repo.Changes.Touch(list[1])
		if err = files.Create(m.repo.Dir, list[1], text, 0o644); errors.Is(err, fs.ErrExist) {
			if there, readErr := files.Read(m.repo.Dir, list[1], repo.MaxFile); readErr == nil && string(there) == string(text) {
				err = nil
			}
		}
	}
	if err != nil {
		return fault.Wrap(err, "cannot write the recipients", list[1], "diff "+list[0]+" "+list[1])
	}
	return nil
}

func (m *mover) copyPublic(from, to repo.HostKey) error {
	key, err := m.repo.Ring.Get(from.Host, from.Tunnel)
	if err != nil {
		return err
	}
	there, err := m.repo.Ring.Get(to.Host, to.Tunnel)
	if err == nil && there == key {
		return nil
	}
	m.repo.Changes.Touch(m.repo.Ring.Path(to.Host, to.Tunnel))
	return m.repo.Ring.Put(to.Host, to.Tunnel, key)
}

func (m *mover) writeText(t textMove) error {
	m.repo.Changes.Touch(t.to)
	if t.from != t.to {
		if err := files.Create(m.repo.Dir, t.to, t.text, 0o644); err != nil {
			return fault.Wrap(err, "cannot write tunnel file", t.to, "")
		}
		return nil
	}
	s, err := files.NewSwapper(m.repo.Dir, filepath.Dir(t.to))
	if err != nil {
		return fault.Wrap(err, "cannot open the folder", filepath.Dir(t.to), "")
	}
	defer s.Close()
	if err = s.Stage(t.to, t.text, 0o644, true); err == nil {
		err = s.Swap(t.to, sha256.Sum256(t.was), int64(len(t.was)))
	}
	if err != nil {
		return fault.Wrap(err, "cannot write tunnel file", t.to, "wgkeys mv "+m.arguments())
	}
	return nil
}

func (m *mover) removeOld() error {
	var paths []string
	for _, move := range m.moves {
		paths = append(paths, m.repo.Vault.Left(move))
	}
	for _, k := range m.public {
		paths = append(paths, m.repo.Ring.Path(k[0].Host, k[0].Tunnel))
	}
	for _, t := range m.texts {
		if t.from != t.to {
			paths = append(paths, t.from)
		}
	}
	for _, list := range m.lists { // last: what is still there is encrypted to them
		paths = append(paths, list[0])
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		m.repo.Changes.Touch(path)
		if err := files.Remove(m.repo.Dir, path); err != nil {
			return fault.Wrap(err, "cannot remove", path, "wgkeys mv "+m.arguments())
		}
		os.Remove(filepath.Dir(path)) // if it is empty
	}
	return nil
}

func (m *mover) tell(how string) {
	for _, move := range m.moves {
		m.ui.Printf("%s %s %sencrypted again as %s %s\n", move.At.Host, move.At.File, how, move.To.Host, move.To.File)
	}
	for _, t := range m.texts {
		if t.from == t.to {
			m.ui.Printf("%s %schanged\n", m.repo.Rel(t.to), how)
		} else {
			m.ui.Printf("%s %scalled %s\n", m.repo.Rel(t.from), how, m.repo.Rel(t.to))
		}
	}
}

// sayNext says what is left to do on hosts.
func (m *mover) sayNext() {
	if m.isTunnel {
		m.ui.Say("hosts still have %s: on each, wgkeys down %[1]s; then wgkeys push -t %[2]s --all, and wgkeys apply -t %[2]s HOST", m.old, m.new)
		return
	}
	for _, name := range m.hostsWithoutSSH() {
		m.ui.Say("tunnel %s names no ssh = of %s: ssh goes to %[2]s from now on; if the machine keeps its name, write ssh = %[3]q", name, m.new, m.old)
	}
	if len(m.peers) > 0 {
		m.ui.Say("preshared keys have the name in those of their files on hosts: wgkeys push %s %s, then wgkeys apply of each", m.new, strings.Join(m.peers, " "))
	}
}

func (m *mover) hostsWithoutSSH() (names []string) {
	all, _ := tunnel.List(m.repo.Tunnels())
	for _, name := range all {
		t, err := tunnel.Parse(m.repo.Tunnels(), name)
		if err != nil || !slices.Contains(t.Hosts(), m.new) {
			continue
		}
		if _, ok := t.SSH(m.new); !ok {
			names = append(names, name)
		}
	}
	return names
}
