package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/words"
	"wgkeys/vault"
)

// NewKeyByHand is how an unmanaged host gets another key: one in the vault is made again
// and exported, any other comes from its owner.
func NewKeyByHand(r *Repo, host, name string) string {
	public, sealed := ui.Quoted(r.Ring.Path(host, name)), ui.Quoted(r.Vault.Path(host, vault.KeyFile(name)))
	commands, apply := Commands(r, name), "wgkeys apply on its peers"
	if t, err := Parse(r, name); err == nil {
		const few = 8
		switch peers := tunnel.ManagedPeers(t, host); {
		case len(peers) > few:
			apply = commands.Run("apply --all")
		case len(peers) > 0:
			apply = commands.Run("apply", peers...)
		}
	}
	if _, err := r.Vault.Meta(host, vault.KeyFile(name)); errors.Is(err, fs.ErrNotExist) {
		return "write the new public key of " + host + " into " + public + ", then " + apply
	}
	return fmt.Sprintf("rm %s %s && %s && %s && %s", public, sealed, commands.Run("gen", host), apply,
		commands.Run("export --secret", host))
}

// ByHand is how an unmanaged host gets its end of the tunnel: with its private key, if the
// vault has it.
func ByHand(r *Repo, t *tunnel.Tunnel, host string) string {
	if _, err := r.Vault.Meta(host, vault.KeyFile(t.Name)); errors.Is(err, fs.ErrNotExist) {
		return t.Commands.Run("export", host) +
			" writes what is to be brought there by hand, but for its private key"
	}
	return t.Commands.Run("export --secret", host) + " writes what is to be brought there by hand, with its private key, and " +
		t.Commands.Run("qr", host) + " shows it"
}

// ExportTo returns the command that writes the tunnel for unmanaged hosts: of several, each
// has its own.
func ExportTo(hosts []string) string {
	if len(hosts) == 1 {
		return "wgkeys export " + words.ForShell(hosts[0])
	}
	return "wgkeys export HOST"
}

// Unmanaged returns a function that reports whether a host of a tunnel, both by name, is
// unmanaged. It is false for a tunnel that cannot be read.
func Unmanaged(r *Repo) func(host, name string) bool {
	names, _ := r.TunnelNames("")
	tunnels := make([]*tunnel.Tunnel, len(names))
	for i, name := range names {
		tunnels[i], _ = Parse(r, name)
	}
	return func(host, name string) bool {
		i := slices.Index(names, name)
		return i >= 0 && tunnels[i] != nil && tunnels[i].Unmanaged(host)
	}
}
