package keys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// Write writes the new files, then the tunnel files, and removes the old ones at the end:
// if it is interrupted, every key exists under one of its names, and the same command does
// the rest. A tunnel's drop-ins are written before its main file, by which verbs find it, so that
// the new tunnel is complete once it is found. They are removed before it, too, so that the old
// tunnel is found until all of it is removed.
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
	for _, t := range slices.Backward(m.texts) {
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
		err = m.create(list[1], text)
	}
	if err != nil {
		return fault.WrapFile(err, "cannot write the recipients", list[1], "diff "+ui.Quoted(list[0])+" "+ui.Quoted(list[1]))
	}
	return nil
}

// create makes a file, unless it is there already with that text.
func (m *Move) create(path string, text []byte) error {
	err := files.Create(m.maker.Repo.Dir, path, text, 0o644|m.maker.Repo.Vault.Shared)
	if errors.Is(err, fs.ErrExist) {
		there, readErr := files.Read(m.maker.Repo.Dir, path, int64(len(text)))
		if readErr == nil && bytes.Equal(there, text) {
			return nil
		}
	}
	return err
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
		if err := m.create(t.to, t.text); err != nil {
			return fault.WrapFile(err, "cannot write tunnel file", t.to, "")
		}
		return nil
	}
	s, err := files.NewSwapper(m.maker.Repo.Dir, filepath.Dir(t.to))
	if err != nil {
		return fault.WrapFile(err, "cannot open the folder", filepath.Dir(t.to), "")
	}
	defer s.Close()
	if err := s.Replace(t.to, t.text, 0o644, sha256.Sum256(t.was), int64(len(t.was))); err != nil {
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
	for _, t := range slices.Backward(m.texts) {
		if t.from != t.to {
			paths = append(paths, t.from)
		}
	}
	for _, list := range m.lists { // last, since files that still exist are encrypted to them
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
