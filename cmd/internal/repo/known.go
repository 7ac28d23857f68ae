package repo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// A KeyHistory tells of keys on hosts whether this clone knows them. Several hosts may
// ask at once.
type KeyHistory struct {
	Repo *Repo
	mu   sync.Mutex
	now  map[string]bool          // fingerprints that keyring and vault have now; nil: not read yet
	ever map[string]bool          // fingerprints that they had in any commit before; nil: not read yet
	past map[string]*fingerprints // by file
	// of public keys, the number of the commit that each came with; nil: not read yet
	order map[string]int
}

// fingerprints are those that one key had, and the commit that each was first in.
type fingerprints struct {
	top   string
	first map[string]string
}

// A notKnown is the error of a key that this clone does not know, or knows as newer
// than its own.
type notKnown struct{ why string }

func (n *notKnown) Error() string { return "the repository may be behind: " + n.why }

// MayReplace refuses to put the key whose fingerprint is want in the place of the one whose
// fingerprint is has, in a file of host, unless that one is known to be older. That of a private
// key is its public key.
func (k *KeyHistory) MayReplace(ctx context.Context, host, tunnel, peer, want, has string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readNow(); err != nil {
		return err
	}
	if k.now[has] { // that of another tunnel, say
		return nil
	}
	m, err := k.fingerprintsOf(ctx, host, tunnel, peer)
	if err != nil {
		return err
	}
	if m.first[has] != "" {
		newer, err := m.newer(ctx, has, want)
		if err == nil && newer {
			err = &notKnown{"its history has that key, as a later one than its own"}
		}
		return err
	}
	if err := k.readEver(ctx); err != nil || k.ever[has] { // of a host that was renamed, say
		return err
	}
	return &notKnown{"neither it nor its history has that key"}
}

// newer reports whether a key was made when the other one was there already.
func (m *fingerprints) newer(ctx context.Context, key, than string) (bool, error) {
	if m.first[than] == "" { // not committed yet
		return false, nil
	}
	return git.IsAncestor(ctx, m.top, m.first[than], m.first[key])
}

func (k *KeyHistory) readNow() error {
	if k.now != nil {
		return nil
	}
	now := map[string]bool{}
	err := k.Repo.EachPublicKey(func(_ HostKey, public keyring.PublicKey) { now[public.String()] = true })
	if err == nil {
		err = k.Repo.EachMeta(func(_, _ string, m vault.Meta) { now[fingerprintIn(m)] = true })
	}
	if err == nil {
		k.now = now
	}
	return err
}

// readEver reads all that keyring and vault ever had.
func (k *KeyHistory) readEver(ctx context.Context) error {
	if k.ever != nil {
		return nil
	}
	ever := map[string]bool{}
	for _, dir := range []string{k.Repo.Ring.Dir, k.Repo.Vault.Dir} {
		if _, err := versions(ctx, []string{dir}, func(_, fingerprint string) { ever[fingerprint] = true }); err != nil {
			return err
		}
	}
	k.ever = ever
	return nil
}

// fingerprintsOf reads the past of one key: where peer is "", of a host's private key.
func (k *KeyHistory) fingerprintsOf(ctx context.Context, host, tunnel, peer string) (*fingerprints, error) {
	name := host + "\x00" + tunnel + "\x00" + peer
	if m := k.past[name]; m != nil {
		return m, nil
	}
	r, m := k.Repo, &fingerprints{first: map[string]string{}}
	add := func(commit, fingerprint string) {
		if m.first[fingerprint] == "" {
			m.first[fingerprint] = commit
		}
	}
	var err error
	if peer == "" {
		m.top, err = versions(ctx, []string{r.Ring.Path(host, tunnel), r.Ring.Path(host, keyring.Next(tunnel))}, add)
	} else {
		m.top, err = versions(ctx, []string{r.PSKFile(tunnel, host, peer).Path, r.PSKFile(tunnel, peer, host).Path}, add)
	}
	if err != nil {
		return nil, err
	}
	if k.past == nil {
		k.past = map[string]*fingerprints{}
	}
	k.past[name] = m
	return m, nil
}

// versions calls do with the fingerprint of each version that git has of files at paths, all
// in one folder of the repository. Where there is no git there is none.
func versions(ctx context.Context, paths []string, do func(commit, fingerprint string)) (top string, err error) {
	for i, path := range paths {
		if paths[i], err = realPath(path); err != nil {
			return "", err
		}
	}
	if top, err = git.Top(topOf(paths[0])); err != nil {
		return "", nil
	}
	return top, git.Versions(ctx, top, MaxVaultFile, paths, func(commit string, b git.Blob) error {
		if fingerprint := fingerprintOf(b.Text); fingerprint != "" {
			do(commit, fingerprint)
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

// fingerprintOf is the fingerprint of the key that a file of keyring or vault is about; "": none.
func fingerprintOf(text []byte) string {
	if k, err := keyring.ParsePublicKey(text); err == nil {
		return k.String()
	}
	if m, err := vault.ReadMeta("", text); err == nil {
		return fingerprintIn(m)
	}
	return ""
}

func fingerprintIn(m vault.Meta) string {
	if m.PSK != "" {
		return m.PSK
	}
	return m.PublicKey.String()
}

// NewerThere is the error of a command that would put a key of this clone in the place
// of one that the host has, or nil where it may. The command is told for what says
// otherwise.
func (k *KeyHistory) NewerThere(ctx context.Context, host, tunnel, peer, want, has, command string) error {
	err := k.MayReplace(ctx, host, tunnel, peer, want, has)
	unknown, ok := errors.AsType[*notKnown](err)
	if !ok {
		return err
	}
	what, key := "the repository may be behind: it was not to replace the key on host", has
	if peer != "" {
		what, key = "the repository may be behind: it was not to replace the preshared key with "+peer+" on host",
			"the one with the fingerprint "+has
	}
	why := "that is " + key + "; " + unknown.why
	return fault.NewHost(what, host, why, k.catchUp(ctx, host, command))
}

// catchUp is how a clone comes to know the keys that hosts have.
func (k *KeyHistory) catchUp(ctx context.Context, host, command string) string {
	otherwise := fmt.Sprintf("if nobody has that key: wgkeys %s --unknown %s", command, host)
	top, err := git.Top(k.Repo.Dir)
	if err != nil {
		return "work in the newest copy of the repository; " + otherwise
	}
	fetch := "git pull"
	if shallow, err := git.IsShallow(ctx, top); err == nil && shallow {
		fetch = "git pull --unshallow"
	}
	return fmt.Sprintf("%s, then wgkeys %s %s; %s", fetch, command, host, otherwise)
}

// ReplacedSince reports whether the present key of host has taken the place of another
// one when the keyring had the key of its peer already, as far as git knows. Both
// are public keys of the tunnel.
func (k *KeyHistory) ReplacedSince(ctx context.Context, tunnel, host string, key, peer keyring.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	own, err := k.fingerprintsOf(ctx, host, tunnel, "")
	if err != nil || len(own.first) == 0 || len(own.first) == 1 && own.first[key.String()] != "" {
		return false
	}
	if err := k.readOrder(ctx); err != nil {
		return false
	}
	added, known := k.order[peer.String()]
	replaced, committed := k.order[key.String()]
	return known && (!committed || added < replaced)
}

// readOrder reads the public keys of all hosts, in the order in which they came.
func (k *KeyHistory) readOrder(ctx context.Context) error {
	if k.order != nil {
		return nil
	}
	commits, order := map[string]int{}, map[string]int{}
	_, err := versions(ctx, []string{k.Repo.Ring.Dir}, func(commit, fingerprint string) {
		if _, ok := commits[commit]; !ok {
			commits[commit] = len(commits)
		}
		if _, ok := order[fingerprint]; !ok {
			order[fingerprint] = commits[commit]
		}
	})
	if err == nil {
		k.order = order
	}
	return err
}

// A host that was restored from a snapshot has the key of then, which its peers do not
// take any more.

// IsOlder reports whether the private key of a host is known to be one that the
// present one has replaced.
func (k *KeyHistory) IsOlder(ctx context.Context, host, tunnel string, want, has keyring.PublicKey) bool {
	if k == nil || has.IsZero() || k.MayReplace(ctx, host, tunnel, "", want.String(), has.String()) != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.fingerprintsOf(ctx, host, tunnel, "")
	return err == nil && m.first[has.String()] != ""
}
