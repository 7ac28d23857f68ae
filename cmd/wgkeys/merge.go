package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// An unmerged file is one of the repository that git could not merge.
type unmerged struct {
	*git.Conflict
	top, path string // git's working tree, and the file
	host      string // of vault and keyring; "" of other files
	file      string // in the vault, as on the host; "" of other files
}

// unmerged are the files of the repository that a merge of git's could not decide.
func (r *repo) unmerged(ctx context.Context) (all []unmerged, err error) {
	dir, err := filepath.EvalSymlinks(r.dir)
	if err != nil {
		return nil, err
	}
	for _, top := range r.tops() {
		found, err := git.Unmerged(ctx, top, maxVaultFile)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			u := unmerged{Conflict: c, top: top, path: filepath.Join(top, c.Path)}
			below, err := filepath.Rel(dir, u.path)
			if err != nil || !filepath.IsLocal(below) {
				continue
			}
			folder, name := filepath.Split(u.path)
			host, in := filepath.Base(folder), filepath.Base(filepath.Dir(filepath.Clean(folder)))
			if keyring.CheckHost(host) == nil && isKeyFile(name) && (in == "vault" || in == "keyring") {
				u.host = host
				if file, ok := strings.CutSuffix(name, ".age"); ok && in == "vault" {
					u.file = file
				}
			}
			all = append(all, u)
		}
	}
	return all, nil
}

// holds returns what one side of a vault file has in it: a private key or a preshared
// one, as its metadata tells.
func (u unmerged) holds(s git.Side) (vault.Meta, bool) {
	m, err := vault.ReadMeta(u.path, s.Text)
	return m, err == nil
}

// alike tells whether both sides have the same key, and differ in whom it is for: two
// branches have encrypted it again.
func (u unmerged) alike() bool {
	ours, ok := u.holds(u.Ours)
	theirs, too := u.holds(u.Theirs)
	return ok && too && ours.PublicKey == theirs.PublicKey && ours.PSK == theirs.PSK
}

// merges finds what a merge has left, and tells the way out of it.
func (c *checker) merges(ctx context.Context) {
	all, err := c.repo.unmerged(ctx)
	if err != nil {
		c.fault(finding{Check: "checkout"}, err)
		return
	}
	if len(all) == 0 {
		return
	}
	op, err := git.Underway(ctx, all[0].top)
	if err != nil || op.Name == "" {
		op = git.Operation{Name: "a merge", Finish: "status"}
	}
	told := map[string]bool{}
	var alike []unmerged
	for _, u := range all {
		told[c.relative(u.path)], told[u.path] = true, true
		if u.file != "" && u.alike() {
			alike = append(alike, u)
			continue
		}
		c.merge(u, op)
	}
	if n := len(alike); n > 0 {
		c.add(finding{Check: "merge", Hint: fmt.Sprintf("wgkeys rekey, then: git -C %[1]s add -A -- %[2]s && git -C %[1]s %[3]s", ui.Quoted(alike[0].top), ui.Quoted(vaultOf(alike[0])), op.Finish)},
			alike[0].path, 0, "%s is not finished: both sides have encrypted %s again", op.Name, counted(filesOf(alike)))
	}
	c.found = slices.DeleteFunc(c.found, func(f finding) bool {
		return told[f.File] && strings.Contains(f.What, files.ErrConflict.Error())
	})
}

// vaultOf is the vault, as seen from the top of git's working tree.
func vaultOf(u unmerged) string { return filepath.Dir(filepath.Dir(u.Path)) }

func filesOf(all []unmerged) (keys, psks int) {
	for _, u := range all {
		if strings.HasSuffix(u.file, ".psk") {
			psks++
		} else {
			keys++
		}
	}
	return keys, psks
}

// merge finds one file that only a person can decide.
func (c *checker) merge(u unmerged, op git.Operation) {
	g := "git -C " + ui.Quoted(u.top)
	path := ui.Quoted(u.Path)
	f := finding{Check: "merge", Host: u.host}
	what := fmt.Sprintf("%s is not finished: both sides have changed %q", op.Name, c.relative(u.path))
	if u.Ours.ID == "" || u.Theirs.ID == "" {
		what = fmt.Sprintf("%s is not finished: one side has removed %q, and the other has changed it", op.Name, c.relative(u.path))
		f.Hint = fmt.Sprintf("%[1]s rm -q -- %[2]s, or to keep it: %[1]s add -- %[2]s; and %[1]s %[3]s", g, path, op.Finish)
	} else if u.host != "" {
		above := filepath.Dir(filepath.Dir(filepath.Dir(u.Path)))
		both := ui.Quoted(filepath.Join(above, "keyring", u.host)) + " " + ui.Quoted(filepath.Join(above, "vault", u.host))
		what += ", to another key each; wgkeys status tells which one the host has"
		f.Hint = fmt.Sprintf("%[1]s checkout --ours -- %[2]s, or with --theirs; then wgkeys rekey %[3]s, %[1]s add -A -- %[2]s and %[1]s %[4]s", g, both, u.host, op.Finish)
	} else {
		f.Hint = fmt.Sprintf("keep in %[1]s what shall stay of both, without the lines <<<<<<<, ======= and >>>>>>>; then %[2]s add -- %[3]s", ui.Quoted(u.path), g, path)
	}
	c.add(f, u.path, 0, "%s", what)
}

// settle takes one side of each vault file that both sides of a merge have encrypted
// again: rekey then encrypts it to whom the merged lists name. A file that holds the
// keyring's key already, since somebody has taken a side himself, stays as it is.
func (r *repo) settle(e *env) error {
	all, err := r.unmerged(e.ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(u unmerged) bool {
		return u.file == "" || len(e.names()) > 0 && !slices.Contains(e.names(), u.host)
	})
	var take []unmerged
	var texts [][]byte
	for _, u := range all {
		path := r.vault.Path(u.host, u.file)
		if _, err := r.vault.Meta(u.host, u.file); err == nil || slices.Contains(e.cli.StringSlice("skip"), u.host) {
			continue
		}
		text, err := r.side(u)
		if err != nil {
			return fault.Wrap(err, "a merge is not finished:", path, "wgkeys check")
		}
		take, texts = append(take, u), append(texts, text)
	}
	if len(take) == 0 {
		return nil
	}
	lists := r.vault.Lists()
	for _, u := range take {
		if _, err := lists.Of(u.host); err != nil {
			return err
		}
	}
	if e.cli.Bool("dry-run") {
		e.ui.Say("a merge is not finished: of %s one side is to be taken, and encrypted again", counted(filesOf(take)))
		return ui.ExitWith(ui.ExitFindings, nil)
	}
	return r.takeSides(e, take, texts)
}

// side is the one of both that holds what the keyring, or the other host's file, has.
func (r *repo) side(u unmerged) ([]byte, error) {
	ours, ok := u.holds(u.Ours)
	theirs, too := u.holds(u.Theirs)
	if !ok || !too {
		return nil, errors.New("one side has removed the file, or it is no vault file there")
	}
	if u.alike() {
		return u.Ours.Text, nil
	}
	tunnel, isKey := strings.CutSuffix(u.file, ".key")
	if !isKey {
		return nil, errors.New("each side has another preshared key")
	}
	want, err := r.ring.Get(u.host, tunnel)
	switch {
	case err != nil:
		return nil, err
	case ours.PublicKey == want:
		return u.Ours.Text, nil
	case theirs.PublicKey == want:
		return u.Theirs.Text, nil
	}
	return nil, errors.New("neither side has the keyring's key")
}

func (r *repo) takeSides(e *env, all []unmerged, texts [][]byte) error {
	s, err := files.NewSwapper(r.dir, r.vault.Dir)
	if err != nil {
		return fault.Wrap(err, "cannot open the vault", r.vault.Dir, "ls -ld "+ui.Quoted(r.vault.Dir))
	}
	defer s.Close()
	for i, u := range all {
		path := r.vault.Path(u.host, u.file)
		now, err := files.Read(r.dir, path, maxMarker)
		if err == nil && !bytes.Equal(now, texts[i]) {
			if err = s.Stage(path, texts[i], 0o600|r.vault.Shared, true); err == nil {
				err = s.Swap(path, sha256.Sum256(now), maxMarker)
			}
		} else if errors.Is(err, fs.ErrNotExist) {
			err = files.Create(r.dir, path, texts[i], 0o600|r.vault.Shared)
		}
		if err != nil {
			return fault.Wrap(err, "cannot take a side of a merge:", path, "git status")
		}
	}
	e.ui.Say("a merge is not finished: of %s one side was taken, to be encrypted again", counted(filesOf(all)))
	return nil
}
