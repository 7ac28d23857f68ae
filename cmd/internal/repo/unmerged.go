package repo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/git"
	"wgkeys/vault"
)

// An Unmerged file is one of the repository that git could not merge.
type Unmerged struct {
	*git.Conflict
	Top, FullPath string // git's working tree, and the file
	Host          string // of vault and keyring; "" for other files
	File          string // in the vault, as on the host; "" for other files
}

// FindUnmerged returns the files of the repository with a merge conflict.
func FindUnmerged(ctx context.Context, r *Repo) ([]Unmerged, error) {
	return UnmergedIn(ctx, r, IndexOnce(ctx, r))
}

// UnmergedIn is [FindUnmerged] with an index that was read already.
func UnmergedIn(ctx context.Context, r *Repo, index IndexOf) (all []Unmerged, err error) {
	dir, err := filepath.EvalSymlinks(r.Dir)
	if err != nil {
		return nil, err
	}
	for _, top := range r.Tops() {
		has, err := index(top)
		if err != nil {
			return nil, err
		}
		found, err := has.Unmerged(ctx, MaxVaultFile)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			u := Unmerged{Conflict: c, Top: top, FullPath: filepath.Join(top, c.Path)}
			below, err := filepath.Rel(dir, u.FullPath)
			if err != nil || !filepath.IsLocal(below) {
				continue
			}
			folder, name := filepath.Split(u.FullPath)
			host, in := filepath.Base(folder), filepath.Base(filepath.Dir(filepath.Clean(folder)))
			if keyring.CheckHost(host) == nil && IsKeyFile(name) && (in == "vault" || in == "keyring") {
				u.Host = host
				if file, ok := strings.CutSuffix(name, ".age"); ok && in == "vault" {
					u.File = file
				}
			}
			all = append(all, u)
		}
	}
	return all, nil
}

// Holds returns the metadata of one side of a vault file: which private or preshared key it
// holds.
func (u Unmerged) Holds(s git.Side) (vault.Meta, bool) {
	m, err := vault.ReadMeta(u.FullPath, s.Text)
	return m, err == nil
}

// Alike reports whether both sides have the same key and differ only in the recipients,
// because two branches encrypted it again.
func (u Unmerged) Alike() bool {
	ours, ok := u.Holds(u.Ours)
	theirs, too := u.Holds(u.Theirs)
	return ok && too && ours.PublicKey == theirs.PublicKey && ours.PSK == theirs.PSK
}

// PublicKeys returns the public keys of both sides, and the tunnel in which they are a host's;
// "": that side has none, as of a preshared key.
func (u Unmerged) PublicKeys() (tunnel, ours, theirs string) {
	of := func(s git.Side) string {
		if k, err := keyring.ParsePublicKey(s.Text); err == nil {
			return k.String()
		}
		if m, ok := u.Holds(s); ok && !m.PublicKey.IsZero() {
			return m.PublicKey.String()
		}
		return ""
	}
	return ownerOfPath(u.Path).tunnel, of(u.Ours), of(u.Theirs)
}

// SideToTake returns the side of a vault file that holds the key of the keyring or, of a
// preshared key, that has replaced it; any if both hold the same key.
func (u Unmerged) SideToTake(r *Repo) (git.Side, error) {
	ours, ok := u.Holds(u.Ours)
	theirs, too := u.Holds(u.Theirs)
	if !ok || !too {
		return git.Side{}, errors.New("one side has removed the file, or wgkeys did not make it there")
	}
	if u.Alike() {
		return u.Ours, nil
	}
	tunnel, isKey := strings.CutSuffix(u.File, ".key")
	if !isKey {
		return u.replaced(ours.PSK, theirs.PSK)
	}
	want, err := r.Ring.Get(u.Host, tunnel)
	switch {
	case err != nil:
		return git.Side{}, err
	case ours.PublicKey == want:
		return u.Ours, nil
	case theirs.PublicKey == want:
		return u.Theirs, nil
	}
	return git.Side{}, errors.New("neither side has the keyring's key")
}

// replaced returns the side that has replaced a preshared key, where the other has kept it.
func (u Unmerged) replaced(ours, theirs string) (git.Side, error) {
	base, ok := u.Holds(u.Base)
	switch {
	case ok && base.PSK == ours:
		return u.Theirs, nil
	case ok && base.PSK == theirs:
		return u.Ours, nil
	}
	return git.Side{}, errors.New("each side has another preshared key")
}

// FilesOf counts private keys and files of preshared ones.
func FilesOf(all []Unmerged) (keys, psks int) {
	for _, u := range all {
		if strings.HasSuffix(u.File, ".psk") {
			psks++
		} else {
			keys++
		}
	}
	return keys, psks
}

// Counted says how many private keys and files of preshared ones there are.
func Counted(keys, psks int) string {
	var parts []string
	for _, c := range []struct {
		n    int
		noun string
	}{{keys, "key"}, {psks, "preshared key file"}} {
		switch c.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+c.noun)
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", c.n, c.noun))
		}
	}
	return strings.Join(parts, " and ")
}
