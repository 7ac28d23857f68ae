package keys

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/vault"
)

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
		if tunnels, _ := tunnel.List(m.maker.Repo.Tunnels()); !m.isTunnel && slices.Contains(tunnels, m.Old) {
			return ui.Usage("no such host", m.Old, "it is the name of a tunnel", "wgkeys mv -t "+m.arguments())
		}
		why := "neither a tunnel file nor keyring nor vault"
		if near := ui.DidYouMean(m.Old, m.known(), strconv.Quote); near != "" {
			why += ": " + near
		}
		return ui.Usage("nothing in the repository is named", m.Old, why, "wgkeys check")
	}
	return nil
}

// known returns the names of what could be renamed.
func (m *Move) known() []string {
	tunnels, _ := tunnel.List(m.maker.Repo.Tunnels())
	if m.isTunnel {
		return tunnels
	}
	var hosts []string
	for _, name := range tunnels {
		if t, err := repo.Parse(m.maker.Repo, name); err == nil {
			hosts = append(hosts, t.Hosts()...)
		}
	}
	return hosts
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
	texts, err := tunnel.RenameInterface(m.maker.Repo.Tunnels(), m.Old, m.New)
	for _, t := range texts {
		to := m.New + strings.TrimPrefix(t.Path, m.Old)
		m.texts = append(m.texts, textMove{filepath.Join(dir, filepath.FromSlash(t.Path)),
			filepath.Join(dir, filepath.FromSlash(to)), t.Was, t.Text})
	}
	if err == nil && slices.Contains(names, m.New) && slices.ContainsFunc(m.texts, m.isNew) {
		err = fault.New("there is a tunnel already that is named", m.New, "", "ls "+ui.Quoted(dir))
	}
	return err
}

// isNew reports whether a tunnel file is not there yet under its new name. All of them are if an
// earlier run was interrupted when it removed the old ones, see [Move.Write].
func (m *Move) isNew(t textMove) bool {
	there, err := files.Read(m.maker.Repo.Dir, t.to, int64(len(t.text)))
	return err != nil || !bytes.Equal(there, t.text)
}

// planPublic finds the public keys. It refuses in the middle of a rotation, when hosts have
// files with the old name that only the rotation removes.
func (m *Move) planPublic() error {
	var err error
	each := m.maker.Repo.EachPublic(func(host, name, path string) {
		k := repo.HostKey{Host: host, Tunnel: strings.TrimSuffix(name, ".next")}
		to := m.key(k)
		switch {
		case to == k:
		case keyring.IsNext(name):
			err = fault.NewHost("a rotation is under way on host", host, path,
				repo.Commands(m.maker.Repo, k.Tunnel).Run("rotate", host))
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
		if of, _ := repo.OwnerOf(n.File); m.key(repo.HostKey{Host: n.Host, Tunnel: of}) !=
			(repo.HostKey{Host: n.Host, Tunnel: of}) {
			return fault.NewHost("a rotation is under way on host", n.Host, m.maker.Repo.Vault.Path(n.Host, n.File),
				repo.Commands(m.maker.Repo, of).Run("rotate", n.Host))
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
			return nil // it belongs to neither
		}
	} else if _, err := m.maker.Repo.Vault.MetaAs(n, n); err != nil { // or moves it back
		if _, err := m.maker.Repo.Vault.MetaAs(n, move.To); err == nil {
			move.From = move.To
		}
	}
	if of, peer := repo.OwnerOf(move.From.File); peer != "" {
		move.Else = []vault.Name{{Host: peer, File: vault.PSKFile(of, move.From.Host)}}
	}
	if h := move.To.Host; h != m.New && !slices.Contains(m.peers, h) {
		m.peers = append(m.peers, h)
	}
	m.moves = append(m.moves, move)
	return nil
}
