package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"wgkeys/cmd/internal/repo"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A Survey asks hosts for their status.
type Survey struct {
	Hosts *Hosts
	Repo  *repo.Repo
	Jobs  int
	Step  func(done, all int)  // called with the number of answers so far
	Waits func(hosts []string) // called with the hosts that have not answered

	// Before is the previous look in a series (status --watch). Then no host is asked twice
	// in doubt, nor for the cause: the next look shows it.
	Before []*HostStatus
	Follow bool // the looks are a series

	views *repo.AllViews
}

// NewStatuses returns statuses for the hosts that were named, or all, of all tunnels or the
// only one, without unmanaged hosts.
func NewStatuses(r *repo.Repo, only string, names []string) ([]*HostStatus, error) {
	tunnels, err := r.SomeTunnels(only)
	if err != nil {
		return nil, err
	}
	var all []*HostStatus
	missing, past := slices.Clone(names), &repo.KeyHistory{Repo: r}
	for _, t := range tunnels {
		for _, host := range t.Hosts() {
			if len(names) > 0 && !slices.Contains(names, host) {
				continue
			}
			if t.Unmanaged(host) {
				continue
			}
			missing = slices.DeleteFunc(missing, func(m string) bool { return m == host })
			all = append(all, &HostStatus{Host: host, Tunnel: t.Name, Peers: []PeerStatus{}, tunnel: t, past: past})
		}
	}
	if len(missing) > 0 {
		for _, t := range tunnels {
			if err := t.RequireManaged(missing[0], "its peers tell of it: wgkeys status"); err != nil {
				return nil, err
			}
		}
		return nil, tunnel.NoSuchHost(tunnels, missing[0])
	}
	return all, nil
}

// A HostStatus is the status of one host in one tunnel.
type HostStatus struct {
	Host    string            `json:"host"`
	Tunnel  string            `json:"tunnel"`
	About   string            `json:"description,omitempty"` // for the user
	Key     keyring.PublicKey `json:"key"`                   // in the repository
	Next    keyring.PublicKey `json:"next,omitzero"`         // in the repository: a rotation is under way
	File    keyring.PublicKey `json:"file,omitzero"`         // in the host's key file
	Live    keyring.PublicKey `json:"live,omitzero"`         // in use; none: the tunnel is not up
	Created time.Time         `json:"created,omitzero"`      // when the key was made
	Due     bool              `json:"due"`                   // it is older than max_key_age
	Drift   *int              `json:"drift"`                 // the number of steps that apply would take; nil: not known
	// of the host's wgkeys; "": an older one, which does not report it
	Version  string       `json:"version,omitempty"`
	Rotation string       `json:"rotation,omitempty"` // the phase of the rotation that the host takes part in
	Peers    []PeerStatus `json:"peers"`
	Findings []string     `json:"findings,omitempty"` // problems
	Notes    []string     `json:"notes,omitempty"`    // remarks, although there is no problem on the host
	Error    string       `json:"error,omitempty"`    // it was not asked, or gave no answer
	Clock    time.Time    `json:"clock,omitzero"`     // of the host, when it was asked
	PeersUp  int          `json:"peers_up"`           // how many had a handshake within three minutes
	Since    *Traffic     `json:"since_last_look,omitempty"`
	Err      error        `json:"-"`

	tunnel *tunnel.Tunnel
	view   *tunnel.View
	answer rotate.Answer
	dead   []deadPeer
	silent []silentPeer
	hears  map[keyring.PublicKey]bool // the peers from which something is received
	past   *repo.KeyHistory
	older  bool // it uses a key that was replaced
	doubts map[string]doubt
}

// A silentPeer is a peer that does not answer, with the finding about it.
type silentPeer struct {
	name    string
	finding int
}

// A Traffic is what went through a tunnel in some time, as its host counts it.
type Traffic struct {
	Seconds  float64 `json:"seconds"`
	Received int64   `json:"received"` // bytes
	Sent     int64   `json:"sent"`     // bytes
}

// A PeerStatus is the state of a peer in a host's kernel.
type PeerStatus struct {
	Name     string `json:"name"`
	Age      *int64 `json:"handshake_age"`      // seconds since the last handshake; null: never
	Received int64  `json:"received"`           // bytes
	Sent     int64  `json:"sent"`               // bytes
	Endpoint string `json:"endpoint,omitempty"` // OUTSIDE
	Up       bool   `json:"up"`                 // it had a handshake within three minutes
}

func (s *HostStatus) addPeers(v *tunnel.View, a rotate.Answer) {
	s.Clock = a.Clock
	for _, p := range v.Peers {
		key := keyInUse(&p, a)
		live := a.Live.Peers[key]
		peer := PeerStatus{Name: p.Name, Received: live.Received, Sent: live.Sent, Endpoint: live.Endpoint}
		if age, ok := a.Age(key); ok {
			seconds := int64(age.Seconds())
			peer.Age, peer.Up = &seconds, age <= sessionEnd
		}
		if peer.Up {
			s.PeersUp++
		}
		s.Peers = append(s.Peers, peer)
	}
}

// judge finds what is wrong, and what to run.
func (s *HostStatus) judge(ctx context.Context) {
	switch {
	case s.Rotation != "":
		s.find("the key of "+s.answer.Record.Host+" is being replaced, "+s.Rotation+"; look again", "status")
	case !s.Next.IsZero():
		s.find("a rotation is not finished", "rotate")
	}
	s.judgeFile(ctx)
	s.judgeLive(ctx)
	if s.Drifts() {
		differ := "differ"
		if *s.Drift == 1 {
			differ = "differs"
		}
		s.find(fmt.Sprintf("%d of its settings %s from the tunnel file", *s.Drift, differ), "plan")
	}
	if s.Due {
		s.find("its key is due", "rotate")
	}
}

// judgeFile finds what is wrong with the key file.
func (s *HostStatus) judgeFile(ctx context.Context) {
	switch {
	case s.File.IsZero() && !s.Live.IsZero() && !s.Expected(s.Live): // judgeLive reports it
	case s.File.IsZero():
		s.find("no key on the host ("+s.answer.File.Why+")", "push")
	case !s.Expected(s.File):
		s.find(s.otherKey(ctx, "another key in its file than in the repository", s.File, "push"))
	}
}

// judgeLive finds what is wrong with the interface's key.
func (s *HostStatus) judgeLive(ctx context.Context) {
	gone := s.answer.Live.Gone
	switch {
	case s.Live.IsZero() && gone != "":
		s.find("the tunnel is down: "+gone, "apply")
	case s.Live.IsZero():
		s.find("the tunnel is not up", "apply")
	case !s.Expected(s.Live):
		s.older = s.restored(ctx)
		if s.Live != s.File { // otherwise judgeFile reports it
			s.find(s.otherKey(ctx, "it uses another key than the repository has, "+s.Live.String(), s.Live, "apply"))
		}
	}
}

// Drifts reports whether apply is known to have something to do.
func (s *HostStatus) Drifts() bool { return s.Drift != nil && *s.Drift > 0 }

func (s *HostStatus) find(what, command string) {
	s.Findings = append(s.Findings, what+": "+s.tunnel.Commands.Run(command, s.Host))
}

// Expected reports whether a key is the one of the repository, or the next one.
func (s *HostStatus) Expected(k keyring.PublicKey) bool {
	return k == s.Key || k == s.Next && !s.Next.IsZero()
}

// otherKey is the hint for a host that has another key than the repository. If this clone
// does not know that key, the hint does not restore the old one.
func (s *HostStatus) otherKey(ctx context.Context, what string, has keyring.PublicKey,
	command string) (finding, hint string) {
	had := what
	if err := s.past.MayReplace(ctx, s.Host, s.Tunnel, "", s.Key.String(), has.String()); err != nil {
		what += ", and the clone may be behind; git pull, or if nobody has that key"
		command = "rotate --unknown"
		if s.Live.IsZero() { // a rotation is done in a tunnel that is up
			command = "push --unknown"
		}
		if repo.IsLater(err) {
			what, command = had+", which its history has as a later one; how to bring that back is said by", "push"
		}
	}
	if other := s.past.OtherHost(s.Host, has.String()); other != "" {
		what += ", that of " + other + ": its disk was copied, or ssh reaches one machine by both names"
	}
	if s.past.IsOlder(ctx, s.Host, s.Tunnel, s.Key, has) {
		what = strings.Replace(what, "another key", "an older key", 1)
	}
	return what, command
}

// restored reports whether a host uses an older key.
func (s *HostStatus) restored(ctx context.Context) bool {
	return s.Live != s.Next && s.Live != s.Key && s.past.IsOlder(ctx, s.Host, s.Tunnel, s.Key, s.Live)
}

// InPlaceOf has a host use the key of the repository.
func InPlaceOf(t *tunnel.Tunnel, host string) string {
	return t.Commands.Run("push", host) + ", then " + t.Commands.Run("apply", host)
}
