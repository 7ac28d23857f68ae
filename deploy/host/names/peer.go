package names

import (
	"net/netip"
	"slices"
	"time"

	"wgkeys/deploy/apply"
)

// WireGuard's own timers (section 6 of its paper) decide these.
const (
	// In this time two initiations are sent, REKEY_TIMEOUT (5 s) apart, and the answer to
	// the second one arrives.
	patience = 8 * time.Second

	// A peer that gets data answers within KEEPALIVE_TIMEOUT (10 s), and without an answer a
	// handshake begins REKEY_TIMEOUT later.
	silence = 20 * time.Second

	keepaliveSize = 32 // bytes of a packet without data, which needs no answer

	firstPause, longestPause = 2 * time.Second, 30 * time.Second
)

// A peer is what is known about one whose endpoint is a name. It learns from the kernel's
// counters at each look.
type peer struct {
	seen       bool
	received   int64 // the counter when something was last received
	sent       int64
	handshake  time.Time
	heard      time.Time
	unanswered time.Time // since when an answer is due; zero: none is

	dead   map[netip.Addr]bool     // addresses to which nothing is sent
	found  []netip.AddrPort        // the addresses of the name
	tried  map[netip.AddrPort]bool // tried without success
	moved  bool                    // since something was last received
	sentAt int64                   // when it was moved

	next  time.Time     // not looked up again before that
	pause time.Duration // between then and the look-up after it
}

// see takes the peer's present state in the kernel into account.
func (p *peer) see(live *apply.Peer, now time.Time) {
	first := !p.seen
	if first || live.Received != p.received || !live.LastHandshake.Equal(p.handshake) {
		*p = peer{seen: true, dead: p.dead, tried: map[netip.AddrPort]bool{}, received: live.Received, sent: live.Sent,
			handshake: live.LastHandshake, heard: now}
		if first && live.LastHandshake.IsZero() && live.Sent > 0 {
			p.unanswered = now
		}
		return
	}
	if p.unanswered.IsZero() && live.Sent-p.sent > p.idle(live, now) {
		p.unanswered = now
	}
}

// idle is how many bytes a peer without traffic may have been sent since something was
// received: keepalives, and one that answers what was received last.
func (p *peer) idle(live *apply.Peer, now time.Time) int64 {
	n := int64(2)
	if live.Keepalive > 0 {
		n += int64(now.Sub(p.heard) / (time.Duration(live.Keepalive) * time.Second))
	}
	return n * keepaliveSize
}

// silent reports whether the peer should have answered by now, if it were at this address,
// or cannot answer there.
func (p *peer) silent(live *apply.Peer, now time.Time) bool {
	if p.dead[live.Endpoint.Addr()] {
		return true
	}
	limit := silence
	if live.LastHandshake.IsZero() || p.moved {
		limit = patience
	}
	return !p.unanswered.IsZero() && now.Sub(p.unanswered) >= limit && (!p.moved || live.Sent > p.sentAt)
}

// late reports whether an answer is due and the handshake is overdue.
func (p *peer) late(live *apply.Peer, now time.Time) bool {
	return !p.unanswered.IsZero() && !live.LastHandshake.IsZero() && live.Overdue(now)
}

// asks reports whether to look up the peer's name now.
func (p *peer) asks(live *apply.Peer, now time.Time) bool {
	switch {
	case now.Before(p.next):
		return false
	case p.silent(live, now):
		return !p.another(live).IsValid()
	}
	return !live.Endpoint.IsValid() || p.late(live, now)
}

// learn takes the result of a look-up into account; without one, that the name does not
// resolve now. All addresses may be tried again.
func (p *peer) learn(found []netip.AddrPort, now time.Time) {
	if len(found) > 0 {
		p.found = found
	}
	p.tried = map[netip.AddrPort]bool{}
	p.pause = min(max(2*p.pause, firstPause), longestPause)
	p.next = now.Add(p.pause)
}

// to returns where to try the peer now, or the zero value: where it is.
func (p *peer) to(live *apply.Peer, now time.Time) netip.AddrPort {
	silent := p.silent(live, now)
	switch {
	case len(p.found) == 0:
		return netip.AddrPort{}
	case !live.Endpoint.IsValid():
		return p.first()
	case !slices.Contains(p.found, live.Endpoint) && (silent || p.late(live, now)):
		return p.first()
	case silent:
		return p.another(live)
	}
	return netip.AddrPort{}
}

// first returns the first address to which something can be sent, or the first.
func (p *peer) first() netip.AddrPort {
	i := slices.IndexFunc(p.found, func(a netip.AddrPort) bool { return !p.dead[a.Addr()] })
	return p.found[max(i, 0)]
}

// another returns the next address that was not tried without success, and to which
// something can be sent.
func (p *peer) another(live *apply.Peer) netip.AddrPort {
	at := slices.Index(p.found, live.Endpoint)
	for i := range p.found {
		if a := p.found[(at+1+i)%len(p.found)]; a != live.Endpoint && !p.tried[a] && !p.dead[a.Addr()] {
			return a
		}
	}
	return netip.AddrPort{}
}

// move records that the peer is tried elsewhere from now on.
func (p *peer) move(live *apply.Peer, now time.Time) {
	p.tried[live.Endpoint] = true
	p.moved, p.unanswered, p.sentAt = true, now, live.Sent
}
