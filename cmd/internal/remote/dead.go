package remote

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// A tunnel may be up, exactly as its file says, and not work: nobody answers what is sent
// to a peer. One look at the counters cannot distinguish that from a peer without traffic,
// or from a request that was just sent, so in doubt there is a second look.

const (
	// A session ends at that age (REJECT_AFTER_TIME, WireGuard's paper, section 6.1); a peer
	// with traffic has a newer one.
	sessionEnd = 180 * time.Second

	// In this time at least one handshake initiation is sent if one is needed: they are
	// REKEY_TIMEOUT and up to a third of a second apart.
	doubtFor = 6 * time.Second

	initiation = 148 // bytes
	farEndTime = 5 * time.Second
)

// A deadPeer is a peer that does not answer.
type deadPeer struct {
	peer *tunnel.Peer
	key  keyring.PublicKey // the one in use
	live rotate.Peer
	age  time.Duration // of the last handshake
	ever bool          // there was one
}

// doubtful returns the peers that may be dead: something was sent to their configured
// endpoint, or should have been, since they are kept alive, and there is no session.
func doubtful(v *tunnel.View, a rotate.Answer) (dead []deadPeer) {
	for i := range v.Peers {
		d := deadPeer{peer: &v.Peers[i], key: keyInUse(&v.Peers[i], a)}
		live, known := a.Live.Peers[d.key]
		d.live = live
		d.age, d.ever = a.Age(d.key)
		old := !d.ever || d.age > sessionEnd || live.Handshake.After(a.Clock) // the clock was set back
		sent := live.Sent > 0 || d.peer.Keepalive > 0
		if known && d.peer.Endpoint != "" && live.Endpoint != "" && sent && old {
			dead = append(dead, d)
		}
	}
	return dead
}

// keyInUse is the key under which a host has a peer.
func keyInUse(p *tunnel.Peer, a rotate.Answer) keyring.PublicKey {
	if _, ok := a.Live.Peers[p.PublicKey]; !ok && !p.NextPublicKey.IsZero() {
		return p.NextPublicKey
	}
	return p.PublicKey
}

// unanswered returns those of the doubtful that a later look shows to be dead: nothing was
// received, and something was sent again, or is always sent.
func unanswered(before []deadPeer, v *tunnel.View, later rotate.Answer) (dead []deadPeer) {
	was := map[string]rotate.Peer{}
	for _, d := range before {
		was[d.peer.Name] = d.live
	}
	for _, d := range doubtful(v, later) {
		old, ok := was[d.peer.Name]
		quiet := ok && d.live.Received == old.Received && d.live.Handshake.Equal(old.Handshake)
		wanted := d.live.Sent > old.Sent || d.peer.Keepalive > 0 || !d.ever && d.live.Sent >= 2*initiation
		if quiet && wanted {
			dead = append(dead, d)
		}
	}
	return dead
}

// findDead looks again if there is a doubt, until there is none or time is up.
func (s *HostStatus) findDead(ctx context.Context, look func() (rotate.Answer, error)) error {
	first := doubtful(s.view, s.answer)
	if s.Live.IsZero() || s.Rotation != "" || len(first) == 0 {
		return nil
	}
	for end := time.Now().Add(doubtFor); len(first) > 0 && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(doubtFor / 3):
		}
		later, err := look()
		if err != nil {
			return err
		}
		s.answer = later
		if s.dead = unanswered(first, s.view, later); len(doubtful(s.view, later)) == 0 {
			return nil
		}
	}
	return nil
}

// A doubt is a peer that may be dead, with its counters when the doubt began, for a watch.
type doubt struct {
	was   deadPeer
	since time.Time
}

// keepDoubts compares with the looks at which the doubts began, once they are old enough.
func (s *HostStatus) keepDoubts(before map[string]doubt, now time.Time) {
	s.doubts = map[string]doubt{}
	if s.Live.IsZero() || s.Rotation != "" {
		return
	}
	for _, d := range doubtful(s.view, s.answer) {
		began, known := before[d.peer.Name]
		if !known {
			began = doubt{d, now}
		}
		s.doubts[d.peer.Name] = began
		if now.Sub(began.since) >= doubtFor {
			s.dead = append(s.dead, unanswered([]deadPeer{began.was}, s.view, s.answer)...)
		}
	}
}

// tellDead reports the dead peers without asking for the cause.
func (s *HostStatus) tellDead() {
	for _, d := range s.dead {
		s.find(d.String(), "status")
	}
}

// judgeDead reports the dead peers of all hosts, with the cause if the other end can be
// asked.
func (q *Survey) judgeDead(ctx context.Context, all []*HostStatus) {
	ends := q.farEnds(ctx, all)
	for _, s := range all {
		for _, d := range s.dead {
			if d.mute() && s.explainsMute() {
				continue
			}
			why, command := whyDead(s, d, ends[farEnd{s.Tunnel, d.peer.Name}])
			s.Findings = append(s.Findings, d.String()+": "+why+": "+command)
			s.silent = append(s.silent, silentPeer{d.peer.Name, len(s.Findings) - 1})
		}
	}
}

// findUnresolved reports peers whose endpoint name does not resolve: nothing can be sent to
// them.
func (s *HostStatus) findUnresolved() {
	var lost []string
	for i := range s.view.Peers {
		p := &s.view.Peers[i]
		live, known := s.answer.Live.Peers[keyInUse(p, s.answer)]
		if known && live.Endpoint == "" && tunnel.IsName(p.Endpoint) {
			lost = append(lost, p.Name+" at "+p.Endpoint)
		}
	}
	const shown = 3
	switch n := len(lost); {
	case n == 0:
		return
	case n > shown:
		lost = append(lost[:shown], fmt.Sprintf("%d more", n-shown))
	}
	s.Findings = append(s.Findings,
		"the name of a peer could not be resolved yet, so nothing can be sent there: "+strings.Join(lost,
			", ")+": "+s.tunnel.Commands.Run("plan", s.Host))
}

func (d deadPeer) String() string {
	since := "and there never was a handshake"
	if d.ever {
		since = "and the last handshake was " + ui.InWords(d.age) + " ago"
	}
	return fmt.Sprintf("%s does not answer at %s, OUTSIDE (%s sent, %s)", d.peer.Name, d.live.Endpoint,
		ui.InBytes(d.live.Sent), since)
}

// mute reports whether nothing could be sent to the peer: WireGuard counts only what the
// kernel has taken.
func (d deadPeer) mute() bool { return d.live.Sent == 0 }

// explainsMute reports whether it is known already why nothing is sent.
func (s *HostStatus) explainsMute() bool {
	return s.Drifts() || slices.ContainsFunc(s.Findings, func(f string) bool { return strings.Contains(f, "OUTSIDE") })
}

// A farEnd is the host of a dead peer.
type farEnd struct{ tunnel, host string }

// farEnds asks the hosts of dead peers. Those that the command is not about are asked as
// well, for a short time only: the way to them may be the same tunnel.
func (q *Survey) farEnds(ctx context.Context, all []*HostStatus) map[farEnd]*HostStatus {
	ends := map[farEnd]*HostStatus{}
	for _, s := range all {
		ends[farEnd{s.Tunnel, s.Host}] = s
	}
	var asked errgroup.Group
	asked.SetLimit(q.Jobs)
	for _, s := range all {
		for _, d := range s.dead {
			end := farEnd{s.Tunnel, d.peer.Name}
			if ends[end] != nil || d.peer.Unmanaged {
				continue
			}
			other := &HostStatus{Host: end.host, Tunnel: end.tunnel, tunnel: s.tunnel}
			ends[end] = other
			asked.Go(func() error {
				other.Err = q.lookAt(ctx, other)
				return nil
			})
		}
	}
	asked.Wait()
	q.listen(ctx, all, ends)
	return ends
}

// listen looks once more at the far ends that have received something from their dead peers
// before, to find out whether they still do.
func (q *Survey) listen(ctx context.Context, all []*HostStatus, ends map[farEnd]*HostStatus) {
	later := map[*HostStatus]*HostStatus{}
	for _, s := range all {
		for _, d := range s.dead {
			far := ends[farEnd{s.Tunnel, d.peer.Name}]
			if far == nil {
				continue
			}
			switch p := far.answer.Live.Peers[s.Live]; {
			case p.Received > 0 && p.Handshake.IsZero():
				far.hear(s.Live)
			case p.Received > 0 && far.Err == nil:
				later[far] = &HostStatus{Host: far.Host, Tunnel: far.Tunnel, tunnel: far.tunnel}
			}
		}
	}
	if len(later) == 0 {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(doubtFor):
	}
	var asked errgroup.Group
	asked.SetLimit(q.Jobs)
	for far, now := range later {
		asked.Go(func() error {
			if q.lookAt(ctx, now) != nil {
				return nil
			}
			for key, p := range now.answer.Live.Peers {
				if p.Received > far.answer.Live.Peers[key].Received {
					far.hear(key)
				}
			}
			return nil
		})
	}
	asked.Wait()
}

// hear records that the host receives from a peer.
func (s *HostStatus) hear(key keyring.PublicKey) {
	if s.hears == nil {
		s.hears = map[keyring.PublicKey]bool{}
	}
	s.hears[key] = true
}

// lookAt asks one host for the state of its tunnel, and no more.
func (q *Survey) lookAt(ctx context.Context, s *HostStatus) error {
	ctx, cancel := context.WithTimeout(ctx, farEndTime)
	defer cancel()
	var err error
	if s.view, err = q.views.Of(s.tunnel, s.Host); err != nil {
		return err
	}
	participant, err := q.Hosts.Participant(s.tunnel, s.Host)
	if err != nil {
		return err
	}
	s.answer, err = participant.Look(ctx, s.Tunnel)
	s.Live = s.answer.Live.PublicKey
	return err
}

// whyDead finds the likely cause, and what to run. The checks are in the order of their
// certainty.
func whyDead(s *HostStatus, d deadPeer, far *HostStatus) (why, command string) {
	peer := d.peer.Name
	if d.mute() {
		return "something on " + s.Host + " refuses what WireGuard sends there: an IPsec policy, a BPF program, or a firewall",
			"ip xfrm policy, bpftool cgroup tree and nft list ruleset on " + s.Host + " show them"
	}
	if d.peer.Unmanaged {
		return "nobody logs in to " + peer +
			" to ask it why; it may be down, its port be closed on the way, or have another key of " + s.Host +
			" or of its own than the repository", s.tunnel.Commands.Run("show", s.Host)
	}
	if far == nil || far.Err != nil {
		return peer + " cannot be asked why, and may be down, or its port be closed on the way", s.tunnel.Commands.Run("status", peer)
	}
	if far.Live.IsZero() {
		return "the tunnel is not up on " + peer, s.tunnel.Commands.Run("apply", peer)
	}
	if why, command = whyOtherKey(s, d, far); why != "" {
		return why, command
	}
	port := portOf(d.live.Endpoint)
	switch listens := far.answer.Live.ListenPort; {
	case listens != 0 && listens != port && !behindAnotherPort(d.peer, port):
		return fmt.Sprintf("%s listens on port %d", peer, listens), s.tunnel.Commands.Run("plan", s.Host)
	case clockBehind(s, d, far):
		return fmt.Sprintf("the clock of %s says %s, which is before its last handshake with %s, so %[3]s takes every new one for a replay",
				s.Host, s.answer.Clock.UTC().Format(time.DateTime), peer),
			"timedatectl set-ntp true on " + s.Host + ", or make " + peer + " forget: " + s.tunnel.Commands.Run("down", peer) +
				", then " + s.tunnel.Commands.Run("apply", peer)
	case far.hears[s.Live]:
		return peer + " hears " + s.Host +
				", and its answers are lost on the way back or not accepted: the preshared keys differ, or a firewall of " +
				s.Host + " drops UDP from " + outsideOf(d.live.Endpoint), s.tunnel.Commands.Run("push", s.Host, peer) +
				", then " + s.tunnel.Commands.Run("apply", s.Host, peer)
	}
	why = fmt.Sprintf("nothing of it arrives at %s: its port %d/udp is closed, by a firewall there or on the way", peer,
		port)
	if tunnel.IsName(d.peer.Endpoint) {
		why += ", or " + d.peer.Endpoint + " leads to another host"
	}
	return why, fmt.Sprintf("%s, and on it: tcpdump -n udp port %d", s.tunnel.Commands.Run("status", peer), port)
}

// whyOtherKey returns an error text if one of the two does not use the key that the other
// has for it; "" if both do.
func whyOtherKey(s *HostStatus, d deadPeer, far *HostStatus) (why, command string) {
	peer := d.peer.Name
	_, hasOwn := far.answer.Live.Peers[s.Live]
	switch {
	case far.Live != d.key && far.older:
		return peer + " uses an older key than " + s.Host + " has for it", InPlaceOf(s.tunnel, peer)
	case far.Live != d.key:
		return peer + " uses another key than " + s.Host + " has for it, " + far.Live.String(),
			s.tunnel.Commands.Run("status") + ", and apply or push where it says so"
	case !hasOwn && s.older:
		return peer + " does not take the older key that " + s.Host + " uses", InPlaceOf(s.tunnel, s.Host)
	case !hasOwn:
		return peer + " does not know the key that " + s.Host + " uses, " + s.Live.String(),
			s.tunnel.Commands.Run("apply", peer)
	}
	return "", ""
}

// clockBehind reports whether the host's clock is before the last handshake that either end
// remembers. WireGuard takes a handshake with an earlier timestamp for a replay.
func clockBehind(s *HostStatus, d deadPeer, far *HostStatus) bool {
	clock := s.answer.Clock
	return clock.Before(far.answer.Live.Peers[s.Live].Handshake) && (!d.ever || clock.Before(d.live.Handshake))
}

// behindAnotherPort reports whether the tunnel file itself sends packets to a port that
// another device maps to the peer's.
func behindAnotherPort(p *tunnel.Peer, port int) bool {
	return slices.ContainsFunc(p.Endpoints(), func(e string) bool { return portOf(e) == port })
}

func portOf(endpoint string) int {
	var port int
	if i := strings.LastIndexByte(endpoint, ':'); i >= 0 {
		fmt.Sscanf(endpoint[i+1:], "%d", &port)
	}
	return port
}

func outsideOf(endpoint string) string {
	if a, err := netip.ParseAddrPort(endpoint); err == nil {
		return a.Addr().String()
	}
	return endpoint
}
