package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// A clone of the repository may be behind, and then its keys are those that were
// replaced, because they were stolen, say. Whether it is shows on the hosts: one of
// them has a key that this clone does not know. So before a key takes the place of
// another one, the other one is looked for here: in keyring and vault, and in what
// they were in the commits that led to this one.

// A keyPast tells of keys on hosts whether this clone knows them. Several hosts may
// ask at once.
type keyPast struct {
	repo *repo
	mu   sync.Mutex
	now  map[string]bool   // marks that keyring and vault have now; nil: not read yet
	ever map[string]bool   // marks that they had in any commit before; nil: not read yet
	past map[string]*marks // by file
}

// marks are the marks that one key had, and the commit that each was first in.
type marks struct {
	top   string
	first map[string]string
}

// errNotKnown marks the error of a key that this clone does not know, or knows as
// newer than its own.
var errNotKnown = errors.New("the repository may be behind")

// mayReplace refuses to put the key whose mark is want in the place of the one whose
// mark is has, in a file of host, unless that one is known to be older. A mark is a
// public key, or the fingerprint of a preshared key.
func (k *keyPast) mayReplace(ctx context.Context, host, tunnel, peer, want, has string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readNow(); err != nil {
		return err
	}
	if k.now[has] { // that of another tunnel, say
		return nil
	}
	m, err := k.marksOf(ctx, host, tunnel, peer)
	if err != nil {
		return err
	}
	if m.first[has] != "" {
		newer, err := m.newer(ctx, has, want)
		if err == nil && newer {
			err = fmt.Errorf("%w: its history has that key, as a later one than its own", errNotKnown)
		}
		return err
	}
	if err := k.readEver(ctx); err != nil || k.ever[has] { // of a host that was renamed, say
		return err
	}
	return fmt.Errorf("%w: neither it nor its history has that key", errNotKnown)
}

// newer reports whether a key was made when the other one was there already.
func (m *marks) newer(ctx context.Context, key, than string) (bool, error) {
	if m.first[than] == "" { // not committed yet
		return false, nil
	}
	return git.IsAncestor(ctx, m.top, m.first[than], m.first[key])
}

func (k *keyPast) readNow() error {
	if k.now != nil {
		return nil
	}
	now := map[string]bool{}
	err := k.repo.eachPublicKey(func(_ hostKey, public keyring.PublicKey) { now[public.String()] = true })
	if err == nil {
		err = k.repo.eachMeta(func(_, _ string, m vault.Meta) { now[markIn(m)] = true })
	}
	if err == nil {
		k.now = now
	}
	return err
}

// readEver reads all that keyring and vault ever had.
func (k *keyPast) readEver(ctx context.Context) error {
	if k.ever != nil {
		return nil
	}
	ever := map[string]bool{}
	for _, dir := range []string{k.repo.ring.Dir, k.repo.vault.Dir} {
		if _, err := versions(ctx, []string{dir}, func(_, mark string) { ever[mark] = true }); err != nil {
			return err
		}
	}
	k.ever = ever
	return nil
}

// marksOf reads the past of one key: where peer is "", of a host's private key.
func (k *keyPast) marksOf(ctx context.Context, host, tunnel, peer string) (*marks, error) {
	name := host + "\x00" + tunnel + "\x00" + peer
	if m := k.past[name]; m != nil {
		return m, nil
	}
	r, m := k.repo, &marks{first: map[string]string{}}
	add := func(commit, mark string) {
		if m.first[mark] == "" {
			m.first[mark] = commit
		}
	}
	var err error
	if peer == "" {
		m.top, err = versions(ctx, []string{r.ring.Path(host, tunnel), r.ring.Path(host, keyring.Next(tunnel))}, add)
	} else {
		m.top, err = versions(ctx, []string{r.half(tunnel, host, peer).path, r.half(tunnel, peer, host).path}, add)
	}
	if err != nil {
		return nil, err
	}
	if k.past == nil {
		k.past = map[string]*marks{}
	}
	k.past[name] = m
	return m, nil
}

// versions calls do with the mark of each version that git has of files at paths, all
// in one folder of the repository. Where there is no git there is none.
func versions(ctx context.Context, paths []string, do func(commit, mark string)) (top string, err error) {
	for i, path := range paths {
		if paths[i], err = realPath(path); err != nil {
			return "", err
		}
	}
	if top, err = git.Top(topOf(paths[0])); err != nil {
		return "", nil
	}
	return top, git.Versions(ctx, top, maxVaultFile, paths, func(commit string, b git.Blob) error {
		if mark := markOf(b.Text); mark != "" {
			do(commit, mark)
		}
		return nil
	})
}

// topOf is the nearest folder at or above path that is there.
func topOf(path string) string {
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
			return real
		}
		path = filepath.Dir(path)
	}
}

// realPath follows the links of a path, also of one that is not there now.
func realPath(path string) (string, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	if path == filepath.Dir(path) {
		return path, nil
	}
	dir, err := realPath(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// markOf is the mark of the key that a file of keyring or vault is about; "": none.
func markOf(text []byte) string {
	if k, err := keyring.ParsePublicKey(text); err == nil {
		return k.String()
	}
	if m, err := vault.ReadMeta("", text); err == nil {
		return markIn(m)
	}
	return ""
}

func markIn(m vault.Meta) string {
	if m.PSK != "" {
		return m.PSK
	}
	return m.PublicKey.String()
}

// newerThere is the error of a command that would put a key of this clone in the place
// of one that the host has, or nil where it may. The command is told for what says
// otherwise.
func (k *keyPast) newerThere(ctx context.Context, host, tunnel, peer, want, has, command string) error {
	err := k.mayReplace(ctx, host, tunnel, peer, want, has)
	if !errors.Is(err, errNotKnown) {
		return err
	}
	what, key := "the repository may be behind: it was not to replace the key on host", has
	if peer != "" {
		what, key = "the repository may be behind: it was not to replace the preshared key with "+peer+" on host", "the one with the fingerprint "+has
	}
	why := "that is " + key + "; " + strings.TrimPrefix(err.Error(), errNotKnown.Error()+": ")
	return fault.New(what, host, why, k.catchUp(ctx, host, command))
}

// catchUp is how a clone comes to know the keys that hosts have.
func (k *keyPast) catchUp(ctx context.Context, host, command string) string {
	otherwise := fmt.Sprintf("if nobody has that key: wgkeys %s --unknown %s", command, host)
	top, err := git.Top(k.repo.dir)
	if err != nil {
		return "work in the newest copy of the repository; " + otherwise
	}
	fetch := "git pull"
	if shallow, err := git.IsShallow(ctx, top); err == nil && shallow {
		fetch = "git pull --unshallow"
	}
	return fmt.Sprintf("%s, then wgkeys %s %s; %s", fetch, command, host, otherwise)
}

// otherKey tells what to do about a host that has another key than the repository. Where
// this clone does not know that one, it does not lead to putting the old one back.
func (s *hostStatus) otherKey(ctx context.Context, what string, has keyring.PublicKey, command string) (finding, hint string) {
	if err := s.past.mayReplace(ctx, s.Host, s.Tunnel, "", s.Key.String(), has.String()); err != nil {
		what += ", and the clone may be behind; git pull, or if nobody has that key"
		command = "rotate --unknown"
	}
	if s.past.isOlder(ctx, s.Host, s.Tunnel, s.Key, has) {
		what = strings.Replace(what, "another key", "an older key", 1)
	}
	return what, command
}
