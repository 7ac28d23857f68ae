package main

import (
	"context"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A host that was restored from a snapshot has the key of then, which its peers do not
// take any more.

// isOlder reports whether the private key of a host is known to be one that the
// present one has replaced.
func (k *keyPast) isOlder(ctx context.Context, host, tunnel string, want, has keyring.PublicKey) bool {
	if k == nil || has.IsZero() || k.mayReplace(ctx, host, tunnel, "", want.String(), has.String()) != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m, err := k.marksOf(ctx, host, tunnel, "")
	return err == nil && m.first[has.String()] != ""
}

// restored reports whether a host uses an older key.
func (s *hostStatus) restored(ctx context.Context) bool {
	return s.Live != s.Next && s.Live != s.Key && s.past.isOlder(ctx, s.Host, s.Tunnel, s.Key, s.Live)
}

// inPlaceOf has a host use the key of the repository.
func inPlaceOf(host string) string { return "wgkeys push " + host + ", then wgkeys apply " + host }

// refuseOlder refuses to rotate the key of a host that uses an older one than the
// repository has.
func (x *turnOf) refuseOlder(live, next keyring.PublicKey) error {
	if live == x.current || live == next || !(&keyPast{repo: x.repo}).isOlder(x.ctx, x.host, x.tunnel.Name, x.current, live) {
		return nil
	}
	return fault.New("an older key than the repository has is in use on host", x.host, "it is "+live.String()+", as after a restore",
		strings.Join([]string{inPlaceOf(x.host), "then wgkeys rotate " + x.host}, ", "))
}
