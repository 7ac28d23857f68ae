package repo

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/parallel"
	"wgkeys/vault"
)

// privateKeys finds private keys where public ones belong, because somebody copied the wrong
// line: a command would show such a key, or send it to all peers. It looks like a public
// key, but its own public key is known from the vault's metadata or the keyring, so that no
// secret has to be opened.
type privateKeys struct {
	ring  string       // its folder
	vault *vault.Vault // with the snapshot that there is

	mu    sync.Mutex
	hosts map[string]map[keyring.PublicKey]string // by tunnel; see whose
}

// refuse is [keyring.Ring.Refuse].
func (p *privateKeys) refuse(tunnel string, keys map[string]keyring.PublicKey) error {
	var ask []string
	for host, k := range keys {
		if k.MayBePrivate() {
			ask = append(ask, host)
		}
	}
	slices.Sort(ask)
	of := make([]string, len(ask))
	public := p.byKey(tunnel, keys)
	parallel.Queue(len(ask), func(i int) { of[i] = p.whose(ask[i], tunnel, keys[ask[i]], public) })
	for i, host := range ask {
		if of[i] != "" {
			return p.found(host, tunnel, of[i])
		}
	}
	return nil
}

// whose returns the host whose private key k is, which was found as the public key of host,
// or "" if none is known. Nearly always the metadata shows that k is the right public key.
func (p *privateKeys) whose(host, tunnel string, k keyring.PublicKey,
	public func() map[keyring.PublicKey]string) string {
	meta, err := p.meta(host, tunnel)
	if err == nil && meta.PublicKey == k {
		return ""
	}
	derived := k.Derived()
	if err == nil && meta.PublicKey == derived {
		return host
	}
	if meta, err = p.meta(host, otherThan(tunnel)); err == nil && meta.PublicKey == derived {
		return host
	}
	return public()[derived]
}

// meta returns the metadata of a key in the vault. There may be thousands of hosts that have none,
// and nobody sees the error.
func (p *privateKeys) meta(host, name string) (vault.Meta, error) {
	v, file := *p.vault, vault.KeyFile(name)
	v.Commands = nil // for hints, which look at all keys of the repository
	if !v.Snapshot.Exists(v.Path(host, file)) {
		return vault.Meta{}, fs.ErrNotExist
	}
	return v.Meta(host, file)
}

// otherThan returns the name of the next key for that of the present one, and vice versa.
func otherThan(name string) string {
	if tunnel, next := strings.CutSuffix(name, keyring.Next("")); next {
		return tunnel
	}
	return keyring.Next(name)
}

// byKey returns the hosts of a tunnel by their public keys: the ones that were read or, if
// that is only one, all in the keyring.
func (p *privateKeys) byKey(tunnel string, read map[string]keyring.PublicKey) func() map[keyring.PublicKey]string {
	return sync.OnceValue(func() map[keyring.PublicKey]string {
		if len(read) > 1 {
			return inverted(read)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.hosts[tunnel] == nil {
			// A file that cannot be read is reported when its own key is needed.
			all, _ := keyring.Ring{Dir: p.ring}.LoadFrom(p.vault.Snapshot, tunnel)
			if p.hosts == nil {
				p.hosts = map[string]map[keyring.PublicKey]string{}
			}
			p.hosts[tunnel] = inverted(all)
		}
		return p.hosts[tunnel]
	})
}

func inverted(keys map[string]keyring.PublicKey) map[keyring.PublicKey]string {
	hosts := make(map[keyring.PublicKey]string, len(keys))
	for _, host := range slices.Sorted(maps.Keys(keys)) {
		hosts[keys[host]] = host
	}
	return hosts
}

// found is the error. A host whose private key the vault has gets its public one from there.
func (p *privateKeys) found(host, tunnel, of string) error {
	path := keyring.Ring{Dir: p.ring}.Path(host, tunnel)
	commands := p.vault.Commands(vault.KeyFile(tunnel))
	restore := commands.Run("gen", host)
	if keyring.IsNext(tunnel) {
		restore = commands.Run("rotate", host)
	} else if _, err := p.vault.Meta(host, vault.KeyFile(tunnel)); err != nil {
		restore = "put the public key of " + host + " there"
	}
	return fault.NewFile("no public key in", path, "it holds the private key of host "+of+", in the clear",
		"rm "+ui.Quoted(path)+", then "+restore+"; if anybody could read it: "+
			commands.Run("rotate --now", of))
}
