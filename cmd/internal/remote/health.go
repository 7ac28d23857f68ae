package remote

import (
	"context"
	"slices"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// look is a Survey that reports no progress.
func (q Survey) look(ctx context.Context, all []*HostStatus) {
	q.Waits = func([]string) {}
	q.Run(ctx, all)
}

// worse returns the findings of a host that it did not have before a change: those that an
// apply may have caused. A peer that was silent before may still be, and one that never
// answered (because the tunnel was not up or did not have it) may be the next host to be
// set up.
func (s *HostStatus) worse(before *HostStatus) (findings []string) {
	if s.Err != nil {
		return []string{fault.OneLine(s.Err)}
	}
	for i, f := range s.Findings {
		if !slices.Contains(before.Findings, f) && !s.neverHeard(i, before) {
			findings = append(findings, f)
		}
	}
	return findings
}

// neverHeard reports whether a finding is about a peer that did not answer before either:
// its text says for how long. That is unknown for a host that did not answer before, and if
// a peer answered under a key that nobody has today, which may be this one's former key.
func (s *HostStatus) neverHeard(finding int, before *HostStatus) bool {
	i := slices.IndexFunc(s.silent, func(p silentPeer) bool { return p.finding == finding })
	if i < 0 || before.Err != nil {
		return false
	}
	name := s.silent[i].name
	if slices.ContainsFunc(before.silent, func(p silentPeer) bool { return p.name == name }) {
		return true
	}
	answered := before.answered()
	for _, p := range before.view.Peers {
		key := keyInUse(&p, before.answer)
		if answered[key] && p.Name == name {
			return false
		}
		delete(answered, key)
	}
	return len(answered) == 0
}

// answered returns the keys of the peers that ever answered the host.
func (s *HostStatus) answered() map[keyring.PublicKey]bool {
	keys := map[keyring.PublicKey]bool{}
	for key := range s.answer.Live.Peers {
		if _, ok := s.answer.Age(key); ok {
			keys[key] = true
		}
	}
	return keys
}
