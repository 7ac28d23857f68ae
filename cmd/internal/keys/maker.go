// Package keys makes, takes in, rotates, moves and hands out keys. It is the one place where
// identities, the repository and hosts meet.
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

// A Maker has what keys are made, opened and handed out with.
type Maker struct {
	Repo   *repo.Repo
	Hosts  *remote.Hosts
	IDs    *vault.Identities
	Report ui.Reporter
	// stands around each step of a rotation here, for tests that hit it there
	Step func(name string, do func() error) error
}

// makeOnHost has a host make a private key and tell the public half.
func (m *Maker) makeOnHost(ctx context.Context, t *tunnel.Tunnel, host string,
	which rotate.Which) (public keyring.PublicKey, err error) {
	participant, err := m.Hosts.Participant(t, host)
	if err != nil {
		return public, err
	}
	return participant.Make(ctx, t.Name, which)
}

// tellByHand warns where err is that a vault file is one that wgkeys has not taken in.
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
