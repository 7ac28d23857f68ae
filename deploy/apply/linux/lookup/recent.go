package lookup

import (
	"context"
	"slices"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A Recent caches the addresses of names for ten seconds. One command may observe twice,
// and should wait for its names once.
type Recent struct {
	found    map[string]apply.Endpoint
	lookedUp time.Time
}

// Observe resolves the view's endpoints that are names. It leaves out those that the peer
// was set to before, according to the journal, and from which handshakes still come.
func (r *Recent) Observe(ctx context.Context, view *tunnel.View, s *apply.State, entries journal.Entries) {
	s.Endpoints = map[string]apply.Endpoint{}
	var live map[keyring.PublicKey]*apply.Peer // made only if a peer has a name
	now := time.Now()
	var names []string
	for i := range view.Peers {
		p := &view.Peers[i]
		if !tunnel.IsName(p.Endpoint) {
			continue
		}
		if live == nil {
			live = peersByKey(s)
		}
		have := live[p.PublicKey]
		set := have != nil && have.Endpoint.IsValid() && entries.Peer(p.PublicKey).Set == p.Endpoint
		lost := !set || have.Overdue(now) || apply.Strayed(view, have.Endpoint)
		if _, asked := s.Endpoints[p.Endpoint]; !asked && lost {
			s.Endpoints[p.Endpoint] = apply.Endpoint{}
			names = append(names, p.Endpoint)
		}
	}
	if names == nil {
		return
	}
	const fresh = 10 * time.Second
	if now.Sub(r.lookedUp) > fresh || !containsAll(r.found, names) {
		r.found, r.lookedUp = newLookup(ctx, s, view, resolversOf(view, entries)).all(ctx, names), time.Now()
	}
	for _, name := range names {
		s.Endpoints[name] = r.found[name]
	}
}

func containsAll(found map[string]apply.Endpoint, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := found[name]; return !ok })
}

func peersByKey(s *apply.State) map[keyring.PublicKey]*apply.Peer {
	live := make(map[keyring.PublicKey]*apply.Peer, len(s.Peers))
	for i := range s.Peers {
		live[s.Peers[i].PublicKey] = &s.Peers[i]
	}
	return live
}
