// Package keyring holds WireGuard's keys, each role in a type of its own, and the public
// keys in plain files keyring/HOST/TUNNEL.pub, which a script can read with $(cat
// keyring/basalt/wg0.pub). It and the packages below it (files, git, and others) are what
// both the vault and the deployment build on.
//
// In the middle of a rotation there is also keyring/HOST/TUNNEL.next.pub: the key that the
// host is changing to, or has changed to already. When all hosts have followed it becomes
// TUNNEL.pub, by a rename.
//
// The package knows no encryption and no network. Private keys pass through it but are
// stored elsewhere, by package vault and on the hosts.
package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
	"wgkeys/keyring/words"
)

// A Ring is the keyring of one repository: its folder, normally "keyring". The folder above
// it is the repository, and no symbolic link out of that is followed.
type Ring struct {
	Dir    string
	Shared fs.FileMode // the bits of its mode that a file gets besides, for others

	// Refuse, if there is one, is asked of the keys of hosts that were read together, and its
	// error is that of the reading: some may be no public keys.
	Refuse func(tunnel string, keys map[string]PublicKey) error
}

// ext is the extension of a public key's file.
const ext = ".pub"

// next is the suffix of a tunnel's name in the files of a rotation under way.
const next = ".next"

// Next names the key that a rotation is changing to: the files of wg0.next are beside those
// of wg0. No tunnel can have such a name.
func Next(tunnel string) string { return tunnel + next }

// IsNext reports whether tunnel is a name that [Next] made.
func IsNext(tunnel string) bool { return strings.HasSuffix(tunnel, next) }

// maxFile is larger than any key file, in bytes.
const maxFile = 4 << 10

// Path returns the file of host's public key in tunnel.
func (r Ring) Path(host, tunnel string) string {
	return files.Below(r.Dir, host, tunnel+ext)
}

// Get reads host's public key in tunnel. If there is none the error is
// [fs.ErrNotExist].
func (r Ring) Get(host, tunnel string) (PublicKey, error) { return r.GetFrom(nil, host, tunnel) }

// GetFrom is [Ring.Get] with a snapshot of the keyring, which may be nil.
func (r Ring) GetFrom(seen *files.Snapshot, host, tunnel string) (PublicKey, error) {
	if made, ok := seen.Once(r.Dir, host, tunnel+ext, func(text []byte) (any, bool) {
		k, err := ParsePublicKey(files.Text(text))
		return &k, err == nil && len(text) <= maxFile
	}); ok {
		return r.accept(host, tunnel, *made.(*PublicKey))
	}
	path := r.Path(host, tunnel)
	text, err := seen.Read(filepath.Dir(r.Dir), path, maxFile)
	if err != nil {
		return PublicKey{}, fault.WrapFile(err, "cannot read the public key", path, "ls -lL "+words.ForShell(path))
	}
	k, err := ParsePublicKey(files.Text(text))
	if err != nil {
		err, hint := files.Better(text, besides(text, err)), "git log -p -- "+words.ForShell(path)
		if err == files.ErrConflict {
			hint = "wgkeys check"
		}
		return PublicKey{}, fault.WrapFile(err, "no valid public key in", path, files.Brings(err, hint))
	}
	return r.accept(host, tunnel, k)
}

// besides adds to err, of a text that is not a public key, that it has something beside one.
func besides(text []byte, err error) error {
	key := bytes.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '"' || r >= utf8.RuneSelf })
	if _, not := ParsePublicKey(key); not == nil {
		return fmt.Errorf("%w; it has a blank, an empty line or a quotation mark beside the key", err)
	}
	keys, others := 0, 0
	for line := range bytes.Lines(text) {
		if _, not := ParsePublicKey(bytes.TrimRight(line, "\r\n")); not == nil {
			keys++
		} else {
			others++
		}
	}
	switch {
	case keys > 1:
		return fmt.Errorf("%w; it has %d keys, as after a merge that kept both sides: one of them may stay", err, keys)
	case keys == 1 && others > 0:
		return fmt.Errorf("%w; it has other lines beside the key", err)
	}
	return err
}

// accept returns k, which was read, unless it is refused.
func (r Ring) accept(host, tunnel string, k PublicKey) (PublicKey, error) {
	if r.Refuse != nil && k.MayBePrivate() {
		if err := r.Refuse(tunnel, map[string]PublicKey{host: k}); err != nil {
			return PublicKey{}, err
		}
	}
	return k, nil
}

// Lacks reports whether a snapshot knows that host has no public key in tunnel.
func (r Ring) Lacks(seen *files.Snapshot, host, tunnel string) bool {
	return seen.Lacks(r.Dir, host, tunnel+ext)
}

// Load reads the public keys of all hosts in tunnel, by host.
func (r Ring) Load(tunnel string) (map[string]PublicKey, error) { return r.LoadFrom(nil, tunnel) }

// LoadFrom is [Ring.Load] with a snapshot of the keyring, which may be nil.
func (r Ring) LoadFrom(seen *files.Snapshot, tunnel string) (map[string]PublicKey, error) {
	hosts, err := seen.List(filepath.Dir(r.Dir), r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(err, "cannot read the keyring", r.Dir, "")
	}
	keys := make(map[string]PublicKey, len(hosts))
	each := Ring{Dir: r.Dir}
	for _, h := range hosts {
		if !h.IsDir() && h.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(h.Name(), ".") {
			continue
		}
		if r.Lacks(seen, h.Name(), tunnel) {
			continue
		}
		k, err := each.GetFrom(seen, h.Name(), tunnel) // a link's too, as for the verbs that ask for one host
		if errors.Is(err, fs.ErrNotExist) || !h.IsDir() && errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys[h.Name()] = k
	}
	if r.Refuse != nil {
		err = r.Refuse(tunnel, keys)
	}
	return keys, err
}

// Put writes host's public key in tunnel as a new file of mode 0644 or more, whole or
// not at all. If there is one already the error is [fs.ErrExist] and the file
// is left as it is.
func (r Ring) Put(host, tunnel string, k PublicKey) error {
	path := r.Path(host, tunnel)
	if err := files.Create(filepath.Dir(r.Dir), path, []byte(k.String()+"\n"), 0o644|r.Shared); err != nil {
		return fault.WrapFile(err, "cannot write the public key", path, "")
	}
	return nil
}

// PutAll is [Ring.Put] for the keys of many hosts, in a hundredth of the time. Existing
// files are left as they are, and the error is [fs.ErrExist].
func (r Ring) PutAll(tunnel string, keys map[string]PublicKey) error {
	if len(keys) == 0 {
		return nil
	}
	b, err := files.NewBatch(filepath.Dir(r.Dir), r.Dir)
	if err != nil {
		return fault.WrapFile(err, "cannot open the keyring", r.Dir, "ls -ld "+words.ForShell(r.Dir))
	}
	defer b.Close()
	for _, host := range slices.Sorted(maps.Keys(keys)) {
		if err := b.Add(r.Path(host, tunnel), []byte(keys[host].String()+"\n"), 0o644|r.Shared); err != nil {
			return fault.WrapFile(err, "cannot write the public key", r.Path(host, tunnel), "")
		}
	}
	if err := b.Commit(); err != nil {
		return fault.WrapFile(err, "cannot write public keys in", r.Dir, "the same command again does the rest")
	}
	return nil
}

// Next reads the public key that a rotation is changing host to. If no rotation is under
// way the error is [fs.ErrNotExist]. [Ring.Load] and [Ring.Put] of Next(tunnel) read those
// of all hosts and write one.
func (r Ring) Next(host, tunnel string) (PublicKey, error) { return r.Get(host, Next(tunnel)) }

// Promote makes host's next public key in tunnel its present one, by a rename that cannot
// be undone. If there is none the error is [fs.ErrNotExist].
func (r Ring) Promote(host, tunnel string) error {
	from, to := r.Path(host, Next(tunnel)), r.Path(host, tunnel)
	if _, err := r.Next(host, tunnel); err != nil {
		return err
	}
	if err := files.Rename(filepath.Dir(r.Dir), from, to); err != nil {
		return fault.WrapFile(err, "cannot make the next public key the present one", from, "")
	}
	return nil
}
