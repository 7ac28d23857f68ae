package repo

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// privateKeys finds private keys where public ones belong. Somebody copied the wrong line:
// whoever reads the file then would show it, and give it to all peers. By itself it looks
// like a public key; but the public key of a secret that is ours is known, from the metadata
// in the vault or from the keyring, and no secret has to be opened.
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
	Each(len(ask), func(i int) { of[i] = p.whose(ask[i], tunnel, keys[ask[i]], public) })
	for i, host := range ask {
		if of[i] != "" {
			return p.found(host, tunnel, of[i])
		}
	}
	return nil
}

// whose returns the host whose private key k is, which stands for the public key of host; ""
// if none is known. Nearly always the metadata tells that k is what it should be.
func (p *privateKeys) whose(host, tunnel string, k keyring.PublicKey,
	public func() map[keyring.PublicKey]string) string {
	meta, err := p.vault.Meta(host, vault.KeyFile(tunnel))
	if err == nil && meta.PublicKey == k {
		return ""
	}
	derived := k.Derived()
	if err == nil && meta.PublicKey == derived {
		return host
	}
	if meta, err = p.vault.Meta(host, vault.KeyFile(otherThan(tunnel))); err == nil && meta.PublicKey == derived {
		return host
	}
	return public()[derived]
}

// otherThan is the name of the next key where that of the present one is given, and the other
// way round.
func otherThan(name string) string {
	if tunnel, next := strings.CutSuffix(name, keyring.Next("")); next {
		return tunnel
	}
	return keyring.Next(name)
}

// byKey returns the hosts of a tunnel by their public keys, those that were read or, where it
// is only one, those that there are.
func (p *privateKeys) byKey(tunnel string, read map[string]keyring.PublicKey) func() map[keyring.PublicKey]string {
	return sync.OnceValue(func() map[keyring.PublicKey]string {
		if len(read) > 1 {
			return inverted(read)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.hosts[tunnel] == nil {
			// What cannot be read is told where it is asked for.
			all, _ := keyring.Ring{Dir: p.ring}.LoadSeen(p.vault.Seen, tunnel)
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
