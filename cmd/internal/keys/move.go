package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

// A Move gives a host or a tunnel another name, wherever the repository has it.
type Move struct {
	maker    *Maker
	Old, New string
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

// Move gives a host or, with isTunnel, a tunnel another name. It finds all that has
// the name, and reads no secret.
func (m *Maker) Move(old, new string, isTunnel bool) (*Move, error) {
	check, what := keyring.CheckHost, "no host can be named"
	if isTunnel {
		check, what = tunnel.CheckName, "no tunnel can be named"
	}
	for _, name := range []string{old, new} {
		if err := check(name); err != nil {
			return nil, fault.Wrap(err, what, name, "")
		}
	}
	if old == new {
		return nil, ui.Usage("it is called so already:", new, "a new name is another one", "wgkeys mv --help")
	}
	mv := &Move{maker: m, Old: old, New: new, isTunnel: isTunnel}
	return mv, mv.plan()
}

// key and name are what a public key and a vault file are called afterwards; back, what
// they were called before.
func (m *Move) key(k repo.HostKey) repo.HostKey { return renamedKey(k, m.Old, m.New, m.isTunnel) }

func renamedKey(k repo.HostKey, old, new string, isTunnel bool) repo.HostKey {
	switch {
	case isTunnel && k.Tunnel == old:
		k.Tunnel = new
	case !isTunnel && k.Host == old:
		k.Host = new
	}
	return k
}

func (m *Move) name(n vault.Name) vault.Name { return m.renamed(n, m.Old, m.New) }
func (m *Move) back(n vault.Name) vault.Name { return m.renamed(n, m.New, m.Old) }

func (m *Move) renamed(n vault.Name, old, new string) vault.Name {
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
func (m *Move) plan() error {
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
		return fault.New("nothing in the repository is named", m.Old, "neither a tunnel file nor keyring nor vault", "wgkeys check")
	}
	return nil
}

func (m *Move) planTexts() error {
	names, err := tunnel.List(m.maker.Repo.Tunnels())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Join(m.maker.Repo.Dir, tunnel.Dir)
	if !m.isTunnel {
		for _, name := range names {
			texts, err := tunnel.RenameHost(m.maker.Repo.Tunnels(), name, m.Old, m.New)
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
	if !slices.Contains(names, m.Old) {
		return nil
	}
	if slices.Contains(names, m.New) {
		return fault.New("there is a tunnel already that is named", m.New, "", "ls "+dir)
	}
	texts, err := tunnel.RenameInterface(m.maker.Repo.Tunnels(), m.Old, m.New)
	for _, t := range texts {
		to := m.New + strings.TrimPrefix(t.Path, m.Old)
		m.texts = append(m.texts, textMove{filepath.Join(dir, filepath.FromSlash(t.Path)), filepath.Join(dir, filepath.FromSlash(to)), t.Was, t.Text})
	}
	return err
}

// planPublic finds the public keys. In the middle of a rotation hosts have files of the
// old name that only its end removes.
func (m *Move) planPublic() error {
	var err error
	each := m.maker.Repo.EachPublic(func(host, name, path string) {
		k := repo.HostKey{Host: host, Tunnel: strings.TrimSuffix(name, ".next")}
		to := m.key(k)
		switch {
		case to == k:
		case keyring.IsNext(name):
			err = fault.NewHost("a rotation is under way of host", host, path, "wgkeys rotate "+host)
		default:
			m.public = append(m.public, [2]repo.HostKey{k, to})
		}
	})
	return errors.Join(each, err)
}

func (m *Move) planVault() error {
	hosts, err := m.maker.Repo.Vault.Hosts()
	if err != nil {
		return err
	}
	for _, host := range hosts {
		all, err := m.maker.Repo.Vault.List(host)
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
		from := filepath.Join(m.maker.Repo.Vault.Dir, m.Old, list)
		if _, err := files.Read(m.maker.Repo.Dir, from, repo.MaxFile); err == nil {
			m.lists = append(m.lists, [2]string{from, filepath.Join(m.maker.Repo.Vault.Dir, m.New, list)})
		}
	}
	return nil
}

func (m *Move) planFile(n vault.Name) error {
	move := &vault.Move{At: n, From: n, To: m.name(n)}
	if strings.HasSuffix(n.File, ".next.key") {
		if of, _ := repo.OwnerOf(n.File); m.key(repo.HostKey{Host: n.Host, Tunnel: of}) != (repo.HostKey{Host: n.Host, Tunnel: of}) {
			return fault.NewHost("a rotation is under way of host", n.Host, m.maker.Repo.Vault.Path(n.Host, n.File), "wgkeys rotate "+n.Host)
		}
		return nil
	}
	if move.To == n { // or somebody has moved it by hand
		move.From = m.back(n)
		if move.From == n {
			return nil
		}
		if _, err := m.maker.Repo.Vault.MetaAs(n, n); err == nil {
			return nil
		}
		if _, err := m.maker.Repo.Vault.MetaAs(n, move.From); err != nil {
			return nil // it is neither's
		}
	} else if _, err := m.maker.Repo.Vault.MetaAs(n, n); err != nil { // or moves it back
		if _, err := m.maker.Repo.Vault.MetaAs(n, move.To); err == nil {
			move.From = move.To
		}
	}
	if of, peer := repo.OwnerOf(move.From.File); peer != "" {
		move.Else = []vault.Name{{Host: peer, File: of + "." + move.From.Host + ".psk"}}
	}
	if h := move.To.Host; h != m.New && !slices.Contains(m.peers, h) {
		m.peers = append(m.peers, h)
	}
	m.moves = append(m.moves, move)
	return nil
}

// Open opens and seals everything.
func (m *Move) Open() error {
	var names []vault.Name
	for _, move := range m.moves {
		names = append(names, move.At)
	}
	if err := m.maker.IDs.Prepare(m.maker.Repo.Vault, names); err != nil {
		return err
	}
	var errs []error
	for _, move := range m.moves {
		of, _ := repo.OwnerOf(move.At.File)
		here := repo.HostKey{Host: move.At.Host, Tunnel: of}
		public, err := m.maker.Repo.Ring.Get(here.Host, here.Tunnel)
		if errors.Is(err, fs.ErrNotExist) { // moved by hand, or by a command that was killed
			to := m.key(here)
			if public, err = m.maker.Repo.Ring.Get(to.Host, to.Tunnel); errors.Is(err, fs.ErrNotExist) {
				public, err = m.maker.Repo.Ring.Get(move.From.Host, strings.TrimSuffix(move.From.File, ".key"))
			}
		}
		if err != nil && strings.HasSuffix(move.At.File, ".key") {
			return err
		}
		err = move.Prepare(m.maker.Repo.Vault, m.maker.IDs, public)
		if errors.Is(err, vault.ErrNoIdentity) && m.maker.Repo.Vault.Sealed(move.At.Host) {
			err = fault.WrapHost(withoutHint(err), "only it can open its keys: host", move.At.Host,
				fmt.Sprintf("on %s, in a clone of the repository: wgkeys mv -y %s -i /etc/ssh/ssh_host_ed25519_key", move.At.Host, m.arguments()))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// withoutHint is for an error that is told of with another way out of it.
func withoutHint(err error) error {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return err
	}
	plain := *f
	plain.Hint = ""
	return &plain
}

func (m *Move) arguments() string {
	if m.isTunnel {
		return "-t " + m.Old + " " + m.New
	}
	return m.Old + " " + m.New
}

// Question tells how much there is to be changed.
func (m *Move) Question() string {
	return fmt.Sprintf("call %s %s, in %d vault files, %d public keys and %d tunnel files?", m.Old, m.New, len(m.moves), len(m.public), len(m.texts))
}

// Write writes what is new, then the tunnel files, and removes what is old at the end:
// whatever stops it, every key is there under one of its names, and the same command
// does the rest.
func (m *Move) Write() error {
	for _, list := range m.lists {
		if err := m.copyList(list); err != nil {
			return err
		}
	}
	for _, move := range m.moves {
		m.maker.Repo.Changes.Touch(m.maker.Repo.Vault.Path(move.To.Host, move.To.File))
		if err := move.Finish(m.maker.Repo.Vault); err != nil {
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

func (m *Move) copyList(list [2]string) error {
	text, err := files.Read(m.maker.Repo.Dir, list[0], repo.MaxFile)
	if err == nil {
		m.maker.Repo.Changes.Touch(list[1])
		if err = files.Create(m.maker.Repo.Dir, list[1], text, 0o644); errors.Is(err, fs.ErrExist) {
			if there, readErr := files.Read(m.maker.Repo.Dir, list[1], repo.MaxFile); readErr == nil && string(there) == string(text) {
				err = nil
			}
		}
	}
	if err != nil {
		return fault.WrapFile(err, "cannot write the recipients", list[1], "diff "+list[0]+" "+list[1])
	}
	return nil
}

func (m *Move) copyPublic(from, to repo.HostKey) error {
	key, err := m.maker.Repo.Ring.Get(from.Host, from.Tunnel)
	if err != nil {
		return err
	}
	there, err := m.maker.Repo.Ring.Get(to.Host, to.Tunnel)
	if err == nil && there == key {
		return nil
	}
	m.maker.Repo.Changes.Touch(m.maker.Repo.Ring.Path(to.Host, to.Tunnel))
	return m.maker.Repo.Ring.Put(to.Host, to.Tunnel, key)
}

func (m *Move) writeText(t textMove) error {
	m.maker.Repo.Changes.Touch(t.to)
	if t.from != t.to {
		if err := files.Create(m.maker.Repo.Dir, t.to, t.text, 0o644); err != nil {
			return fault.WrapFile(err, "cannot write tunnel file", t.to, "")
		}
		return nil
	}
	s, err := files.NewSwapper(m.maker.Repo.Dir, filepath.Dir(t.to))
	if err != nil {
		return fault.WrapFile(err, "cannot open the folder", filepath.Dir(t.to), "")
	}
	defer s.Close()
	if err = s.Stage(t.to, t.text, 0o644, true); err == nil {
		err = s.Swap(t.to, sha256.Sum256(t.was), int64(len(t.was)))
	}
	if err != nil {
		return fault.WrapFile(err, "cannot write tunnel file", t.to, "wgkeys mv "+m.arguments())
	}
	return nil
}

func (m *Move) removeOld() error {
	var paths []string
	for _, move := range m.moves {
		paths = append(paths, move.Left(m.maker.Repo.Vault))
	}
	for _, k := range m.public {
		paths = append(paths, m.maker.Repo.Ring.Path(k[0].Host, k[0].Tunnel))
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
		m.maker.Repo.Changes.Touch(path)
		if err := files.Remove(m.maker.Repo.Dir, path); err != nil {
			return fault.WrapFile(err, "cannot remove", path, "wgkeys mv "+m.arguments())
		}
		os.Remove(filepath.Dir(path)) // if it is empty
	}
	return nil
}

// Lines tell what was done, or with how what is to be.
func (m *Move) Lines(how string) (lines []string) {
	for _, move := range m.moves {
		lines = append(lines, fmt.Sprintf("%s %s %sencrypted again as %s %s", move.At.Host, move.At.File, how, move.To.Host, move.To.File))
	}
	for _, t := range m.texts {
		if t.from == t.to {
			lines = append(lines, fmt.Sprintf("%s %schanged", m.maker.Repo.Rel(t.to), how))
		} else {
			lines = append(lines, fmt.Sprintf("%s %scalled %s", m.maker.Repo.Rel(t.from), how, m.maker.Repo.Rel(t.to)))
		}
	}
	return lines
}

// SayNext says what is left to do on hosts.
func (m *Move) SayNext() {
	if m.isTunnel {
		m.maker.Report.Say("hosts still have %s: on each, wgkeys down %[1]s; then wgkeys push -t %[2]s --all, and wgkeys apply -t %[2]s HOST", m.Old, m.New)
		return
	}
	for _, name := range m.hostsWithoutSSH() {
		m.maker.Report.Say("tunnel %s names no ssh = of %s: ssh goes to %[2]s from now on; if the machine keeps its name, write ssh = %[3]q", name, m.New, m.Old)
	}
	if len(m.peers) > 0 {
		m.maker.Report.Say("preshared keys have the name in those of their files on hosts: wgkeys push %s %s, then wgkeys apply of each", m.New, strings.Join(m.peers, " "))
	}
}

func (m *Move) hostsWithoutSSH() (names []string) {
	all, _ := tunnel.List(m.maker.Repo.Tunnels())
	for _, name := range all {
		t, err := tunnel.Parse(m.maker.Repo.Tunnels(), name)
		if err != nil || !slices.Contains(t.Hosts(), m.New) {
			continue
		}
		if _, ok := t.SSH(m.New); !ok {
			names = append(names, name)
		}
	}
	return names
}
