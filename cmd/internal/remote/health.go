package remote

import (
	"context"
	"slices"

	"wgkeys/keyring/fault"
)

// Look is a Survey that tells nothing before its end.
func (q Survey) Look(ctx context.Context, all []*HostStatus) {
	q.Waits = func([]string) {}
	q.Run(ctx, all)
}

// Worse returns what is found of a host that was not before a change: what an apply may be
// blamed for. A peer that was silent before may be so still.
func (s *HostStatus) Worse(before *HostStatus) (findings []string) {
	if s.Err != nil {
		return []string{fault.OneLine(s.Err)}
	}
	for i, f := range s.Findings {
		if !slices.Contains(before.Findings, f) && !s.silentBefore(i, before) {
			findings = append(findings, f)
		}
	}
	return findings
}

// silentBefore reports whether a finding is of a peer that did not answer before either:
// its text says for how long.
func (s *HostStatus) silentBefore(finding int, before *HostStatus) bool {
	i := slices.IndexFunc(s.silent, func(p silentPeer) bool { return p.finding == finding })
	return i >= 0 && slices.ContainsFunc(before.silent, func(p silentPeer) bool { return p.name == s.silent[i].name })
}
