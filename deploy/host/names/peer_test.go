package names

import (
	"net/netip"
	"testing"
	"time"

	"wgkeys/deploy/apply"
)

var (
	one   = netip.MustParseAddrPort("[2001:db8::1]:51820")
	two   = netip.MustParseAddrPort("192.0.2.2:51820")
	three = netip.MustParseAddrPort("192.0.2.3:51820")
)

// A scene is a peer, what the kernel has of it, and a clock that a test moves: what is
// decided depends on nothing else.
type scene struct {
	t    *testing.T
	peer peer
	live apply.Peer
	now  time.Time
}

func newScene(t *testing.T, at netip.AddrPort) *scene {
	return &scene{t: t, now: time.Unix(1e9, 0), live: apply.Peer{Endpoint: at}}
}

// pass lets time pass, in which this much is sent and received.
func (p *scene) pass(d time.Duration, sent, received int64) {
	p.now = p.now.Add(d)
	p.live.Sent += sent
	p.live.Received += received
	p.peer.see(&p.live, p.now)
}

// shake is a handshake and an answer that is complete.
func (p *scene) shake() {
	p.live.LastHandshake = p.now
	p.pass(0, 148+32, 92)
}

// expect compares what is decided, and does it.
func (p *scene) expect(when string, asks bool, to netip.AddrPort) {
	p.t.Helper()
	if got := p.peer.asks(&p.live, p.now); got != asks {
		p.t.Fatalf("%s: the name is looked up: %t", when, got)
	}
	got := p.peer.to(&p.live, p.now)
	if got != to {
		p.t.Fatalf("%s: the peer goes to %v, want %v", when, got, to)
	}
	if to.IsValid() {
		p.peer.move(&p.live, p.now)
		p.live.Endpoint = to
	}
}

func (p *scene) learn(found ...netip.AddrPort) { p.peer.learn(found, p.now) }

var stays netip.AddrPort

// TestAddressesInTurn: each is tried for as long as two initiations take, then the
// name is looked up again.
func TestAddressesOneByOne(t *testing.T) {
	p := newScene(t, one)
	p.pass(0, 148, 0)
	p.expect("at once", false, stays)
	p.pass(5*time.Second, 148, 0)
	p.expect("after one initiation more", false, stays)
	p.pass(3*time.Second, 0, 0)
	p.expect("after 8 s", true, stays)
	p.learn(one, two, three)
	p.expect("looked up", false, two)
	p.pass(5*time.Second, 148, 0)
	p.expect("not yet", false, stays)
	p.pass(3*time.Second, 148, 0)
	p.expect("8 s later", false, three)
	p.pass(8*time.Second, 148, 0)
	p.expect("all were tried", true, stays)
	p.learn(one, two, three)
	p.expect("the next round", false, one)
	p.pass(6*time.Second, 148, 0)
	p.shake()
	p.pass(time.Minute, 0, 0)
	p.expect("it answers", false, stays)
}

// TestNobodyWaits: a peer that nobody sends anything to stays where it is, and its
// name is not looked up, however old the handshake is.
func TestNobodyWaits(t *testing.T) {
	p := newScene(t, one)
	p.pass(0, 148, 0)
	p.shake()
	for range 100 {
		p.pass(10*time.Second, 0, 0)
		p.expect("idle", false, stays)
	}
	p = newScene(t, one)
	p.live.Keepalive = 5
	p.pass(0, 148, 0)
	p.shake()
	for range 100 {
		p.pass(5*time.Second, keepaliveSize, 0)
		p.expect("keepalives, which nobody answers", false, stays)
	}
	p = newScene(t, one)
	p.pass(8*time.Second, 0, 0)
	p.learn(one, two)
	p.pass(time.Minute, 0, 0)
	p.expect("never sent anything", false, stays)
}

// TestNotWantedAnyMore: who is not tried where he was moved to is not moved on.
func TestNotWantedAnyMore(t *testing.T) {
	p := newScene(t, one)
	p.pass(0, 148, 0)
	p.pass(8*time.Second, 148, 0)
	p.learn(one, two)
	p.expect("8 s", false, two)
	p.pass(time.Minute, 0, 0)
	p.expect("nothing is sent", false, stays)
	p.pass(2*time.Second, 148, 0)
	p.expect("and then something is", true, stays)
}

// TestDead: a peer to which nothing can be sent where it is, as when this host has left a
// network with IPv6, goes at once where something can, and else is looked up, but is never
// moved from one such address to another.
func TestDead(t *testing.T) {
	p := newScene(t, two)
	p.pass(0, 148, 0)
	p.learn(one, two, three)
	p.shake()
	p.learn(one, two, three)
	p.expect("all is well", false, stays)
	p.peer.dead = map[netip.Addr]bool{two.Addr(): true, three.Addr(): true}
	p.pass(time.Second, 0, 0)
	p.expect("no route to two", false, one)
	p.pass(time.Minute, 0, 0)
	p.expect("nothing is sent", false, stays)
	p.peer.dead = map[netip.Addr]bool{one.Addr(): true, two.Addr(): true, three.Addr(): true}
	p.expect("no route to any", true, stays)
	p.learn(one, two)
	p.expect("looked up", false, stays)
	p.pass(2*time.Second, 0, 0)
	p.expect("not yet", false, stays)
	p.pass(28*time.Second, 0, 0)
	p.expect("half a minute later", true, stays)
	p.learn(two, three)
	p.peer.dead = map[netip.Addr]bool{one.Addr(): true, two.Addr(): true}
	p.expect("the name leads elsewhere", false, three)
}

// TestMoves: a peer that worked and falls silent is looked up, and followed where its
// name leads elsewhere.
func TestMoves(t *testing.T) {
	p := newScene(t, two)
	p.pass(0, 148, 0)
	p.shake()
	for range 10 { // traffic both ways
		p.pass(2*time.Second, 1000, 1000)
		p.expect("answered", false, stays)
	}
	p.pass(2*time.Second, 1000, 0)
	p.pass(19*time.Second, 1000, 0)
	p.expect("after 19 s", false, stays)
	p.pass(time.Second, 0, 0)
	p.expect("after 20 s", true, stays)
	p.learn()
	p.expect("its name leads nowhere", false, stays)
	p.pass(firstPause, 0, 0)
	p.expect("once more", true, stays)
	p.learn(two)
	p.expect("its name leads where it was", false, stays)
	p.pass(2*firstPause, 148, 0)
	p.expect("and once more", true, stays)
	p.learn(three)
	p.expect("its name leads elsewhere", false, three)
}

// TestOverdue: with keepalives alone nothing is missed before the handshake is due.
func TestOverdue(t *testing.T) {
	p := newScene(t, two)
	p.live.Keepalive = 5
	p.pass(0, 148, 0)
	p.shake()
	for range 24 {
		p.pass(5*time.Second, keepaliveSize, 0)
		p.expect("not due", false, stays)
	}
	p.pass(2*time.Second, 148, 0)
	p.pass(5*time.Second, 148, 0)
	p.pass(8*time.Second, 148, 0)
	p.expect("135 s", false, stays)
	p.pass(time.Second, 0, 0)
	p.expect("136 s", true, stays)
	p.learn(three)
	p.expect("it has moved", false, three)
}

// TestUnresolved: a name that leads nowhere yet is looked up again and again.
func TestUnresolved(t *testing.T) {
	p := newScene(t, netip.AddrPort{})
	p.pass(0, 0, 0)
	pause := firstPause
	for range 8 {
		p.expect("it is time", true, stays)
		p.learn()
		p.pass(pause-time.Second, 0, 0)
		p.expect("it is not time", false, stays)
		p.pass(time.Second, 0, 0)
		pause = min(2*pause, longestPause)
	}
	p.learn(one, two)
	p.expect("found", false, one)
}
