package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"wgkeys/keyring/fault"
	"wgkeys/vault"
)

// A half is a host's vault file of a preshared key, and what is known of it
// without a secret.
type half struct {
	host, file, path string
	vault.Meta
	err error
}

func (h half) missing() bool { return errors.Is(h.err, fs.ErrNotExist) }

// halves are the two vault files of the preshared key of a and b. They may hold
// different secrets, for whoever replaced one in the repository: that is an
// error, since a host would drop all packets of the other.
func (r *repo) halves(tunnel, a, b string) (mine, other half, err error) {
	mine, other = r.half(tunnel, a, b), r.half(tunnel, b, a)
	if mine.err == nil && other.err == nil && mine.PSK != other.PSK {
		err = fault.New("two preshared keys for one pair of hosts", a+", "+b,
			mine.path+" and "+other.path+" hold different ones",
			fmt.Sprintf("git log -- %s %s; for a new one: wgkeys rotate --psk %s", mine.path, other.path, a))
	}
	return mine, other, err
}

func (r *repo) half(tunnel, host, peer string) half {
	h := half{host: host, file: tunnel + "." + peer + ".psk"}
	h.path = r.vault.Path(host, h.file)
	h.Meta, h.err = r.vault.Meta(host, h.file)
	return h
}

// peerOf is the peer that the file TUNNEL.PEER.psk is shared with.
func peerOf(tunnel, file string) string {
	return strings.TrimSuffix(strings.TrimPrefix(file, tunnel+"."), ".psk")
}
