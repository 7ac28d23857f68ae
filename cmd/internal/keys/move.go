package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A Move renames a host or a tunnel everywhere in the repository.
type Move struct {
	maker    *Maker
	Old, New string
	isTunnel bool

	moves  []*vault.Move
	public [][2]repo.HostKey // from, to
	lists  [][2]string       // paths of recipients files
	texts  []textMove
	peers  []string // hosts other than the renamed one whose files change
}

// A textMove is a tunnel file that changes, or is renamed.
type textMove struct {
	from, to  string
	was, text []byte
}

// MoveHost plans to rename a host. It finds all that has the name, and reads no secret.
func (m *Maker) MoveHost(old, new string) (*Move, error) {
	mv := &Move{maker: m, Old: old, New: new}
	return mv.planned(keyring.CheckHost, "no host can be named")
}

// MoveTunnel plans to rename a tunnel, as [Maker.MoveHost] does a host.
func (m *Maker) MoveTunnel(old, new string) (*Move, error) {
	mv := &Move{maker: m, Old: old, New: new, isTunnel: true}
	return mv.planned(tunnel.CheckName, "no tunnel can be named")
}

// planned checks both names and plans the move. If check refuses a name, the error begins
// with refusal.
func (m *Move) planned(check func(name string) error, refusal string) (*Move, error) {
	for _, name := range []string{m.Old, m.New} {
		if err := check(name); err != nil {
			return nil, ui.Usage(refusal, name, err.Error(), "wgkeys mv --help")
		}
	}
	if m.Old == m.New {
		return nil, ui.Usage("it is called so already:", m.New, "a new name is another one", "wgkeys mv --help")
	}
	return m, m.plan()
}

// key and name return the new names of a public key and a vault file; back returns the old
// ones.
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
	return vault.Name{Host: k.Host, File: vault.PSKFile(k.Tunnel, peer)}
}

// Open opens all files and seals them again.
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
		if errors.Is(err, fs.ErrNotExist) { // moved by hand, or by a killed command
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
				fmt.Sprintf("on %s, in a clone of the repository: wgkeys mv -y %s -i /etc/ssh/ssh_host_ed25519_key", move.At.Host,
					m.arguments()))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// withoutHint removes the hint of an error that is reported with another one.
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

// Question asks for consent and says how much will change.
func (m *Move) Question() string {
	return fmt.Sprintf("call %s %s, in %s, %s and %s?", m.Old, m.New, ui.Plural(len(m.moves), "vault file"),
		ui.Plural(len(m.public), "public key"), ui.Plural(len(m.texts), "tunnel file"))
}

// Lines describe what was done, or what would be done.
func (m *Move) Lines(how string) (lines []string) {
	for _, move := range m.moves {
		lines = append(lines, fmt.Sprintf("%s %s %sencrypted again as %s %s", move.At.Host, move.At.File, how, move.To.Host,
			move.To.File))
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
		m.maker.Report.Say("hosts still have %s: on each, wgkeys down -t %[1]s; then wgkeys push -t %[2]s --all, and wgkeys apply -t %[2]s HOST", m.Old, m.New)
		return
	}
	for _, name := range m.hostsWithoutSSH() {
		m.maker.Report.Say("tunnel %s names no ssh = of %s: ssh goes to %[2]s from now on; if the machine keeps its name, write ssh = %[3]q", name, m.New, m.Old)
	}
	if len(m.peers) > 0 {
		m.maker.Report.Say("on hosts the files of preshared keys still have the old name: wgkeys push %s %s, then wgkeys apply on each", m.New, strings.Join(m.peers, " "))
	}
}

func (m *Move) hostsWithoutSSH() (names []string) {
	all, _ := tunnel.List(m.maker.Repo.Tunnels())
	for _, name := range all {
		t, err := repo.Parse(m.maker.Repo, name)
		if err != nil || !slices.Contains(t.Hosts(), m.New) {
			continue
		}
		if _, ok := t.SSH(m.New); !ok {
			names = append(names, name)
		}
	}
	return names
}
