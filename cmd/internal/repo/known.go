package repo

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"wgkeys/keyring"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// A clone of the repository may be behind, and then its keys are those that were replaced,
// perhaps because they were stolen. The hosts show whether it is: one of them has a key
// that this clone does not know. So before a key replaces another one, that one is looked
// for here: in keyring and vault, and in their contents in the commits that led to this
// one. To find it is not enough: a merge, a revert and a rename restore older keys, and the
// newer one stays in the history.

// A KeyHistory says for keys on hosts whether this clone knows them. Several goroutines may
// use it.
type KeyHistory struct {
	Repo *Repo
	mu   sync.Mutex
	here map[keyOf]bool      // the hosts of all tunnel files; nil: not read yet
	now  map[string]keyOf    // the owners of the present keys of these, by fingerprint; nil: not read yet
	past map[string]*history // by file, or by folder for all files in it
	// for public keys, the number of the commit that added each; nil: not read yet
	order map[string]int
}

// A history is a set of fingerprints that there ever were.
type history struct {
	top   string
	first map[string]string         // the commit that added each
	owner map[string]map[keyOf]bool // the owner of each
}

// A keyOf is the owner of the key in a file of keyring or vault. For a private key, and its
// public key, peer is "".
type keyOf struct{ host, tunnel, peer string }

// A notKnown is the error of a key that this clone does not know, or knows as newer than
// its own.
type notKnown struct {
	why   string
	later bool // the history has it
}

func (n *notKnown) Error() string { return "the repository may be behind: " + n.why }

// IsLater reports whether an error of [KeyHistory.MayReplace] is about a key that the history has as
// a later one: a revert or a merge has taken it away.
func IsLater(err error) bool {
	n, ok := errors.AsType[*notKnown](err)
	return ok && n.later
}

// MayReplace refuses to replace the key with fingerprint has by the one with fingerprint
// want, in a file of host, unless the former is known to be older. The fingerprint of a
// private key is its public key.
func (k *KeyHistory) MayReplace(ctx context.Context, host, tunnel, peer, want, has string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readNow(); err != nil {
		return err
	}
	if _, present := k.now[has]; present { // of another tunnel, for instance
		return nil
	}
	own, err := k.ofKey(ctx, keyOf{host, tunnel, peer})
	if err != nil {
		return err
	}
	if newer, err := own.newer(ctx, has, want); err != nil || newer {
		return laterThere(err)
	}
	// The keys of a renamed host were in files of another name.
	all, err := k.ofAll(ctx, peer)
	switch {
	case err != nil:
		return err
	case all.first[has] == "":
		return &notKnown{why: "neither it nor its history has that key"}
	case own.first[has] == "" && k.ofOthers(all.owner[has]):
		return nil
	case all.first[has] == all.first[want]: // no commit says which one was first
		return nil
	}
	if newer, err := all.newer(ctx, has, want); err != nil || newer {
		return laterThere(err)
	}
	return nil
}

func laterThere(err error) error {
	if err != nil {
		return err
	}
	return &notKnown{"its history has that key, as a later one than its own", true}
}

// newer reports whether a key was made after the other one.
func (h *history) newer(ctx context.Context, key, than string) (bool, error) {
	if h.first[key] == "" || h.first[than] == "" { // not committed, or not yet
		return false, nil
	}
	return git.IsAncestor(ctx, h.top, h.first[than], h.first[key])
}

// ofOthers reports whether a key only ever belonged to other hosts that the tunnel files
// name: it has come here by a copy of a disk, for instance.
func (k *KeyHistory) ofOthers(owners map[keyOf]bool) bool {
	for owner := range owners {
		if !k.named(owner.host, owner.tunnel) {
			return false
		}
	}
	return true
}

// named reports whether a tunnel file names a host. One that cannot be read names none.
func (k *KeyHistory) named(host, tunnelName string) bool {
	if k.here == nil {
		k.here = map[keyOf]bool{}
		names, _ := k.Repo.TunnelNames("")
		for _, name := range names {
			if t, err := Parse(k.Repo, name); err == nil {
				for _, h := range t.Hosts() {
					k.here[keyOf{h, name, ""}] = true
				}
			}
		}
	}
	return k.here[keyOf{host, tunnelName, ""}]
}

// readNow reads the present keys of hosts that are named. What a merge or a rename by hand
// has left of others does not count.
func (k *KeyHistory) readNow() error {
	if k.now != nil {
		return nil
	}
	now := map[string]keyOf{}
	err := k.Repo.EachPublicKey(func(key HostKey, public keyring.PublicKey) {
		if k.named(key.Host, strings.TrimSuffix(key.Tunnel, keyring.Next(""))) {
			now[public.String()] = keyOf{host: key.Host, tunnel: key.Tunnel}
		}
	})
	if err == nil {
		err = k.Repo.EachMeta(func(host, file string, m vault.Meta) {
			if name, peer := OwnerOf(file); k.named(host, name) {
				now[fingerprintIn(m)] = keyOf{host, name, peer}
			}
		})
	}
	if err == nil {
		k.now = now
	}
	return err
}

// OtherHost returns the other host whose present private key is the one with this
// fingerprint; "" if there is none.
func (k *KeyHistory) OtherHost(host, fingerprint string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readNow(); err != nil {
		return "" // reported by MayReplace
	}
	if of := k.now[fingerprint]; of.peer == "" && of.host != host {
		return of.host
	}
	return ""
}

// PresentFile is the name in the vault of the present key of a host that has this
// fingerprint; "" if none of its keys has.
func (k *KeyHistory) PresentFile(host, fingerprint string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readNow(); err != nil {
		return "" // reported by MayReplace
	}
	switch of, ok := k.now[fingerprint]; {
	case !ok || of.host != host:
		return ""
	case of.peer == "":
		return of.tunnel + ".key"
	default:
		return of.tunnel + "." + of.peer + ".psk"
	}
}

// ofAll reads all keys that the keyring, or for preshared keys the vault, ever had.
func (k *KeyHistory) ofAll(ctx context.Context, peer string) (*history, error) {
	if peer == "" {
		return k.read(ctx, k.Repo.Ring.Dir)
	}
	return k.read(ctx, k.Repo.Vault.Dir)
}

// ofKey reads the history of one key.
func (k *KeyHistory) ofKey(ctx context.Context, of keyOf) (*history, error) {
	return k.read(ctx, k.filesOf(of)...)
}

// read reads the history of files or of a folder, once.
func (k *KeyHistory) read(ctx context.Context, paths ...string) (*history, error) {
	name := strings.Join(paths, "\x00")
	if h := k.past[name]; h != nil {
		return h, nil
	}
	h := &history{first: map[string]string{}, owner: map[string]map[keyOf]bool{}}
	var err error
	h.top, err = versions(ctx, git.CheckedOut, paths, func(fingerprint string, v git.Version) {
		if h.first[fingerprint] == "" {
			h.first[fingerprint], h.owner[fingerprint] = v.First, map[keyOf]bool{}
		}
		for _, path := range v.Paths {
			h.owner[fingerprint][ownerOfPath(path)] = true
		}
	})
	if err != nil {
		return nil, err
	}
	if k.past == nil {
		k.past = map[string]*history{}
	}
	k.past[name] = h
	return h, nil
}

// ownerOfPath is the owner of the key in the file HOST/NAME of the keyring or the vault.
func ownerOfPath(file string) keyOf {
	of := keyOf{host: path.Base(path.Dir(file))}
	name := path.Base(file)
	if tunnel, ok := strings.CutSuffix(name, ".pub"); ok {
		of.tunnel = strings.TrimSuffix(tunnel, keyring.Next(""))
		return of
	}
	of.tunnel, of.peer = OwnerOf(strings.TrimSuffix(name, ".age"))
	return of
}

// versions calls do with the fingerprint of each version in git of files at paths, all in
// one folder of the repository. Without git there is none.
func versions(ctx context.Context, of git.Commits, paths []string,
	do func(fingerprint string, v git.Version)) (top string, err error) {
	paths = slices.Clone(paths)
	for i, path := range paths {
		if paths[i], err = realPath(path); err != nil {
			return "", err
		}
	}
	if top, err = git.Top(topOf(paths[0])); err != nil {
		return "", nil
	}
	return top, git.Versions(ctx, top, of, MaxVaultFile, paths, func(v git.Version) error {
		if fingerprint := fingerprintOf(v.Text); fingerprint != "" {
			do(fingerprint, v)
		}
		return nil
	})
}

// topOf is the nearest existing folder at or above path.
func topOf(path string) string {
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
			return real
		}
		path = filepath.Dir(path)
	}
}

// realPath resolves the links in a path that need not exist.
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

// fingerprintOf is the fingerprint of the key in a file of keyring or vault; "": none.
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

// ReplacedSince reports whether host's present key has replaced another one after the
// keyring had its peer's key, as far as git knows. Both are public keys of the tunnel.
func (k *KeyHistory) ReplacedSince(ctx context.Context, tunnel, host string, key, peer keyring.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	own, err := k.ofKey(ctx, keyOf{host, tunnel, ""})
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

// readOrder reads the public keys of all hosts, in the order in which they were added.
func (k *KeyHistory) readOrder(ctx context.Context) error {
	if k.order != nil {
		return nil
	}
	commits, order := map[string]int{}, map[string]int{}
	_, err := versions(ctx, git.CheckedOut, []string{k.Repo.Ring.Dir}, func(fingerprint string, v git.Version) {
		if _, ok := commits[v.First]; !ok {
			commits[v.First] = len(commits)
		}
		if _, ok := order[fingerprint]; !ok {
			order[fingerprint] = commits[v.First]
		}
	})
	if err == nil {
		k.order = order
	}
	return err
}

// A host that was restored from a snapshot has the key of that time, which its peers
// refuse.

// IsOlder reports whether a host's private key is known to be one that the present one has
// replaced.
func (k *KeyHistory) IsOlder(ctx context.Context, host, tunnel string, want, has keyring.PublicKey) bool {
	if k == nil || has.IsZero() || k.MayReplace(ctx, host, tunnel, "", want.String(), has.String()) != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	own, err := k.ofKey(ctx, keyOf{host, tunnel, ""})
	return err == nil && own.first[has.String()] != ""
}
