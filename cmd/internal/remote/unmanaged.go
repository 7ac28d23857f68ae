package remote

import (
	"context"
	"strings"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/tunnel"
)

// A peer that nobody logs in to gets a new public key of a host by hand, or not yet. What
// it has only it knows; that it has shaken hands with the new key, the host does.

// switchTime is longer than what goes by from when a next key is made until it is in
// use, in a rotation that nothing interrupts.
const switchTime = time.Hour

// keyAge is for how long the host has used its key, as far as that is known.
func (s *HostStatus) keyAge(now time.Time) (age time.Duration, ok bool) {
	inFile := s.answer.Clock.Sub(s.answer.File.Changed)
	fileKnown := s.File == s.Live && !s.answer.File.Changed.IsZero() && !s.answer.Clock.IsZero()
	switch age = now.Sub(s.Created); {
	case s.Created.IsZero():
		return inFile, fileKnown
	case fileKnown && inFile <= age && age-inFile < switchTime:
		return inFile, true // more exact; but a key file may be written again, too
	}
	return age, true
}

// noteOldKeys tells of the peers which nobody logs in to, and which were not seen since
// the key of the host was replaced.
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
	const give = "; give it the new public key, by hand or with wgkeys export HOST"
	if before != nil {
		s.Notes = append(s.Notes, "not seen since the key of "+s.Host+" was replaced, "+ui.InWords(inUse)+" ago: "+
			describe(before)+give)
	}
	if never != nil {
		s.Notes = append(s.Notes, "not seen since the tunnel came up, and may have the key that "+s.Host+" had before: "+
			describe(never)+give)
	}
}

// describe names peers, with what the tunnel file says of them for people.
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
