package remote

import (
	"context"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
)

// An unmanaged peer gets a host's new public key by hand, perhaps later. Only the peer
// knows which key it has, but the host knows whether there was a handshake with the new
// one.

// switchTime is longer than an uninterrupted rotation takes from making the next key until
// it is in use.
const switchTime = time.Hour

// keyAge is how long the host has used its key, as far as that is known.
func (s *HostStatus) keyAge(now time.Time) (age time.Duration, ok bool) {
	inFile := s.answer.Clock.Sub(s.answer.File.Changed)
	fileKnown := s.File == s.Live && !s.answer.File.Changed.IsZero() && !s.answer.Clock.IsZero()
	switch age = now.Sub(s.Created); {
	case s.Created.IsZero():
		return inFile, fileKnown
	case fileKnown && inFile <= age && age-inFile < switchTime:
		return inFile, true // more exact; but a key file may also be written again
	}
	return age, true
}

// noteOldKeys adds notes about the unmanaged peers that had no handshake since the host's
// key was replaced.
func (s *HostStatus) noteOldKeys(ctx context.Context, now time.Time) {
	inUse, known := s.keyAge(now)
	if s.Live.IsZero() || s.Live != s.Key || s.Rotation != "" || !known {
		return
	}
	var before, never []*tunnel.Peer
	for i := range s.view.Peers {
		p := &s.view.Peers[i]
		if !p.Unmanaged {
			continue
		}
		switch age, ever := s.answer.Age(p.PublicKey); {
		case ever && age > inUse:
			before = append(before, p)
		case !ever && s.past.ReplacedSince(ctx, s.Tunnel, s.Host, s.Key, p.PublicKey):
			never = append(never, p)
		}
	}
	if before != nil {
		s.Notes = append(s.Notes, "not seen since the key of "+s.Host+" was replaced, "+ui.InWords(inUse)+" ago: "+
			describe(before)+giveTo(before))
	}
	if never != nil {
		s.Notes = append(s.Notes, "not seen since the tunnel came up, and may have the key that "+s.Host+" had before: "+
			describe(never)+giveTo(never))
	}
}

// giveTo says how peers get the new public key.
func giveTo(peers []*tunnel.Peer) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = p.Name
	}
	return "; give it the new public key, by hand or with " + repo.ExportTo(names)
}

// describe names peers, with their descriptions in the tunnel file.
func describe(peers []*tunnel.Peer) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = p.Name
		if p.Description != "" {
			names[i] += " (" + p.Description + ")"
		}
	}
	return strings.Join(names, ", ")
}
