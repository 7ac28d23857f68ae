// Package keys makes, imports, rotates, renames and distributes keys. It is the one place
// where identities, the repository and hosts meet.
package keys

import (
	"context"
	"errors"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/vault"
)

// A Maker has what it takes to make, open and distribute keys.
type Maker struct {
	Repo   *repo.Repo
	Hosts  *remote.Hosts
	IDs    *vault.Identities
	Report ui.Reporter
	// wraps each step of a rotation on this machine; tests use it to make one fail
	Step func(name string, do func() error) error
}

// makeOnHost makes a private key on the host and returns its public key.
func (m *Maker) makeOnHost(ctx context.Context, t *tunnel.Tunnel, host string,
	which rotate.Which) (public keyring.PublicKey, err error) {
	participant, err := m.Hosts.Participant(t, host)
	if err != nil {
		return public, err
	}
	return participant.Make(ctx, t.Name, which)
}

// tellByHand warns if err is that a vault file has no metadata yet.
func (m *Maker) tellByHand(err error) {
	if errors.Is(err, vault.ErrNoMeta) {
		m.Report.Warn(err)
	}
}

// seal makes a private key and encrypts it into the vault.
func (m *Maker) seal(host, file string) (keyring.PublicKey, error) {
	private, err := keyring.GeneratePrivateKey()
	if err != nil {
		return keyring.PublicKey{}, err
	}
	m.Repo.Changes.Touch(m.Repo.Vault.Path(host, file))
	return private.PublicKey(), m.Repo.Vault.SealKey(host, file, private, time.Now())
}
