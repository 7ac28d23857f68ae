package rotate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wgkeys/keyring"
)

// A model is basalt and its peer shale in a world of its own time: as much of
// WireGuard as the protocol rests on. Basalt always has something to send.
type model struct {
	now     time.Duration
	cut     bool // the link is
	rtt     time.Duration
	oldKey  keyring.PublicKey
	nextKey keyring.PublicKey

	// basalt
	key       keyring.PublicKey
	session   keyring.PublicKey // under which key of basalt it may send; zero: none
	handshake time.Time
	lastInit  time.Duration
	promoted  keyring.PublicKey

	// shale
	peers map[keyring.PublicKey]*modelPeer
	bell  telling
	rings bool         // a handshake has begun with shale
	looks int          // of shale's
	hook  func(string) // called before every change, and may panic
}

// A telling is whether the watcher hears of handshakes that begin.
type telling int

const (
	always    telling = iota // all
	sometimes                // it hears of some, and misses others
	cannot                   // it cannot be told
)

type modelPeer struct {
	Peer
	wrongPSK bool
	session  bool
	lastInit time.Duration
}

const never = -time.Hour

func newModel() *model {
	m := &model{rtt: 10 * time.Millisecond, oldKey: keyring.PublicKey{1}, nextKey: keyring.PublicKey{2},
		lastInit: never, peers: map[keyring.PublicKey]*modelPeer{}, hook: func(string) {}}
	m.key, m.promoted = m.oldKey, m.oldKey
	m.peers[m.oldKey] = &modelPeer{Peer: Peer{AllowedIPs: 1, Endpoint: "basalt", Handshake: m.clock()}, session: true,
		lastInit: never}
	m.session, m.handshake = m.oldKey, m.clock()
	return m
}

func (m *model) clock() time.Time { return time.Unix(1_000_000, 0).Add(m.now) }

// flows reports whether packets pass both ways.
func (m *model) flows() bool {
	p := m.peers[m.key]
	return !m.cut && p != nil && p.AllowedIPs > 0 && p.session && m.session == m.key
}

// retry is after how long WireGuard begins a handshake again (REKEY_TIMEOUT).
const retry = 5 * time.Second

// tick is one millisecond of WireGuard: packets that are under way arrive at once,
// every ten milliseconds.
func (m *model) tick() {
	m.now += time.Millisecond
	if m.now%m.rtt != 0 {
		return
	}
	m.basaltBegins()
	m.shaleBegins()
	if p := m.peers[m.key]; m.session == m.key && !m.cut && p != nil && p.session {
		p.Received += 1000
	}
}

// basaltBegins has basalt try a handshake, if one is due.
func (m *model) basaltBegins() {
	if m.session == m.key || m.now-m.lastInit < retry {
		return
	}
	m.lastInit = m.now
	m.rings = m.rings || !m.cut && (m.bell == always || m.bell == sometimes && m.now/m.rtt%2 == 0)
	if p := m.peers[m.key]; p != nil && !m.cut {
		p.Received += 148
		if !p.wrongPSK {
			m.shake(p)
		}
	}
}

// shaleBegins has shale try a handshake with each of its peers that one is due with.
func (m *model) shaleBegins() {
	for key, p := range m.peers {
		if p.AllowedIPs > 0 && !p.session && m.now-p.lastInit >= retry {
			p.lastInit = m.now
			if key == m.key && !m.cut && !p.wrongPSK {
				m.shake(p)
			}
		}
	}
}

func (m *model) shake(p *modelPeer) {
	p.session, p.Handshake, p.Received = true, m.clock(), p.Received+92
	m.session, m.handshake = m.key, m.clock()
}

// basalt and shale are the [Tunnel]s of the two hosts.
type basalt struct{ *model }
type shale struct{ *model }

var shaleKey = keyring.PublicKey{9}

func (m *model) change(what string) { m.hook(what) }

func (b basalt) Look() (Live, error) {
	return Live{PublicKey: b.key, Peers: map[keyring.PublicKey]Peer{shaleKey: {Handshake: b.handshake, Endpoint: "shale",
		AllowedIPs: 1}}}, nil
}

func (b basalt) Switch(to keyring.PublicKey) error {
	b.change("switch")
	if b.key != to {
		b.key, b.session, b.lastInit = to, keyring.PublicKey{}, never
	}
	return nil
}
func (b basalt) Nudge([]keyring.PublicKey) error { b.change("nudge"); return nil }
func (b basalt) Promote(next keyring.PublicKey) error {
	b.change("promote")
	b.promoted = next
	return nil
}
func (basalt) Hold() error                         { return nil }
func (basalt) Release() error                      { return nil }
func (basalt) Stage(_, _ keyring.PublicKey) error  { return errors.ErrUnsupported }
func (basalt) Follow(_, _ keyring.PublicKey) error { return errors.ErrUnsupported }
func (basalt) Drop(keyring.PublicKey) error        { return errors.ErrUnsupported }
func (basalt) Rekey(_, _ keyring.PublicKey) error  { return errors.ErrUnsupported }

func (s shale) Look() (Live, error) {
	s.looks++
	live := Live{PublicKey: shaleKey, Peers: map[keyring.PublicKey]Peer{}}
	for key, p := range s.peers {
		live.Peers[key] = p.Peer
	}
	return live, nil
}

func (s shale) Stage(_, next keyring.PublicKey) error {
	s.change("stage")
	s.peers[next] = &modelPeer{Peer: Peer{Endpoint: "basalt"}, wrongPSK: true, lastInit: never}
	return nil
}

func (s shale) Follow(from, to keyring.PublicKey) error {
	s.change("follow")
	if s.peers[from] == nil {
		return errors.New("no such peer")
	}
	both := s.peers[from].AllowedIPs
	if p := s.peers[to]; p != nil {
		both += p.AllowedIPs
	}
	s.peers[to] = &modelPeer{Peer: Peer{Endpoint: "basalt", AllowedIPs: both}, lastInit: never}
	s.peers[from].AllowedIPs = 0
	return nil
}

func (s shale) Drop(peer keyring.PublicKey) error {
	s.change("drop")
	delete(s.peers, peer)
	return nil
}
func (s shale) Rekey(_, _ keyring.PublicKey) error { s.change("rekey"); return nil }
func (shale) Hold() error                          { return nil }
func (shale) Release() error                       { return nil }
func (shale) Switch(keyring.PublicKey) error       { return errors.ErrUnsupported }
func (shale) Nudge([]keyring.PublicKey) error      { return errors.ErrUnsupported }
func (shale) Promote(keyring.PublicKey) error      { return errors.ErrUnsupported }

// A modelRun is one rotation in a model, with the processes of both hosts. A process
// that is killed is followed by another one, which knows only the record.
type modelRun struct {
	*model
	sw             Switch
	watch          Watcher
	swKept, wtKept Record // as saved
	swNext, wtNext time.Duration
	dead           map[string]time.Duration // until when a process is not there
}

func newRun(m *model) *modelRun {
	p := &modelRun{model: m, dead: map[string]time.Duration{}}
	shale{m}.Stage(m.oldKey, m.nextKey)
	p.swKept = Record{Old: m.oldKey, Next: m.nextKey, Phase: Armed, Switch: true, Hold: true,
		Deadline: time.Minute - beginMost, Before: map[keyring.PublicKey]time.Time{shaleKey: {}}}
	p.wtKept = Record{Old: m.oldKey, Next: m.nextKey, Phase: Armed, Deadline: time.Minute}
	p.raise()
	return p
}

// raise starts both processes from their records.
func (p *modelRun) raise() {
	p.raiseSwitch()
	p.raiseWatcher()
}

func (p *modelRun) raiseSwitch() {
	r := p.swKept
	r.Before = map[keyring.PublicKey]time.Time{shaleKey: p.swKept.Before[shaleKey]}
	p.sw = Switch{Tunnel: basalt{p.model}, Record: &r, Clock: func() time.Duration { return p.now },
		Save: func(r *Record) error {
			p.change("save switch")
			p.swKept = *r
			p.swKept.Before = map[keyring.PublicKey]time.Time{shaleKey: r.Before[shaleKey]}
			return nil
		}}
}

func (p *modelRun) raiseWatcher() {
	r := p.wtKept
	p.watch = Watcher{Tunnel: shale{p.model}, Record: &r, Clock: func() time.Duration { return p.now },
		Ended: func(*Record) bool { return false },
		Save:  func(r *Record) error { p.change("save watch"); p.wtKept = *r; return nil }}
	if p.bell != cannot {
		p.watch.Begun = make(chan struct{})
	}
}

type killed struct{}

// run lets the time pass, and kills the process that the hook wants killed.
func (p *modelRun) run(until time.Duration) {
	for p.now < until {
		p.tick()
		p.step("switch", &p.swNext, p.sw.Record, p.sw.step, p.raiseSwitch)
		if p.rings && p.dead["watch"] <= p.now { // as wait does it
			p.watch.watchClosely()
			p.wtNext = p.now
		}
		p.rings = false
		p.step("watch", &p.wtNext, p.watch.Record, p.watch.step, p.raiseWatcher)
	}
}

func (p *modelRun) step(who string, next *time.Duration, r *Record, step func() (time.Duration, error), raise func()) {
	if r.Over() || p.now < *next {
		return
	}
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(killed); !ok {
				panic(x)
			}
			p.dead[who] = p.now + 30*time.Millisecond // until the other process is there
			*next = p.dead[who]
			raise()
		}
	}()
	pause, err := step()
	if err != nil {
		pause = calm
	}
	*next = p.now + pause
}

// check tells whether all is well at the end: packets flow, and both hosts agree.
func (p *modelRun) check(t *testing.T, what string) {
	t.Helper()
	switch {
	case !p.flows():
		t.Errorf("%s: nothing flows; switch %s, watch %s", what, p.sw.Record.Phase, p.watch.Record.Phase)
	case !p.sw.Record.Over() || !p.watch.Record.Over():
		t.Errorf("%s: not over; switch %s, watch %s", what, p.sw.Record.Phase, p.watch.Record.Phase)
	case p.sw.Record.Phase != p.watch.Record.Phase:
		t.Errorf("%s: switch %s, watch %s", what, p.sw.Record.Phase, p.watch.Record.Phase)
	case len(p.peers) != 1:
		t.Errorf("%s: %d peers are left", what, len(p.peers))
	case (p.sw.Record.Phase == Kept) != (p.key == p.nextKey) || p.promoted != p.key:
		t.Errorf("%s: %s, but the key in use or in the file is the other one", what, p.sw.Record.Phase)
	}
}

func TestRotation(t *testing.T) {
	for _, bell := range []telling{always, sometimes, cannot} {
		m := newModel()
		m.bell = bell
		p := newRun(m)
		p.run(30 * time.Second)
		p.check(t, "undisturbed")
		if p.key != p.nextKey {
			t.Error("the key is the old one")
		}
	}
}

// TestWatcherRests: a watcher that is told of handshakes does not look all the time
// meanwhile, and follows no later for that.
func TestWatcherRests(t *testing.T) {
	m := newModel()
	p := newRun(m)
	for p.now < 30*time.Second { // the others are being reached
		p.tick()
		p.step("watch", &p.wtNext, p.watch.Record, p.watch.step, p.raiseWatcher)
	}
	if most := int(p.now/idle) + 1; m.looks > most {
		t.Errorf("%d looks in %v, want %d at most", m.looks, p.now, most)
	}
	var switched, followed time.Duration
	m.hook = func(change string) {
		switch {
		case change == "switch":
			switched = m.now
		case change == "follow" && followed == 0:
			followed = m.now
		}
	}
	p.run(p.now + 30*time.Second)
	p.check(t, "after a rest")
	if reaction := followed - switched; switched == 0 || reaction > m.rtt+3*quick {
		t.Errorf("switched at %v, followed at %v", switched, followed)
	}
}

// TestKilled kills the process of each host before each of its changes, and cuts
// the link there for a while: traffic flows again within 15 s after the cut.
func TestKilled(t *testing.T) {
	cases := 0
	for _, bell := range []telling{always, sometimes, cannot} {
		cases += killAndCut(t, bell)
	}
	t.Logf("%d cases", cases)
}

func killAndCut(t *testing.T, bell telling) (cases int) {
	for _, cut := range []time.Duration{0, 20 * time.Millisecond, time.Second, 4 * time.Second, 9 * time.Second,
		20 * time.Second} {
		for _, kill := range []bool{false, true} {
			for at := 1; ; at++ {
				n, reached, what, healed := 0, false, "", time.Duration(0)
				m := newModel()
				m.bell = bell
				p := newRun(m)
				m.hook = func(change string) {
					if n++; n != at {
						return
					}
					reached, what = true, change
					m.cut, healed = cut > 0, m.now+cut
					if kill {
						panic(killed{})
					}
				}
				for m.now < 2*time.Minute {
					p.run(m.now + time.Millisecond)
					if m.cut && m.now >= healed {
						m.cut = false
					}
					if reached && m.now == healed+15*time.Second && !m.flows() {
						t.Errorf("%s, cut for %v, killed %v: nothing flows after 15 s", what, cut, kill)
					}
				}
				if !reached {
					break
				}
				cases++
				p.check(t, what)
			}
		}
	}
	return cases
}

// TestAnything kills and cuts at random: at the end all is well.
func TestAnything(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7767))
		m := newModel()
		m.bell = telling(seed % 3)
		p := newRun(m)
		m.hook = func(string) {
			if m.now < 30*time.Second && rnd.IntN(4) == 0 {
				panic(killed{})
			}
		}
		for m.now < 4*time.Minute {
			p.run(m.now + time.Millisecond)
			switch {
			case m.now > 30*time.Second:
				m.cut = false
			case rnd.IntN(2000) == 0:
				m.cut = !m.cut
			}
		}
		if p.check(t, "at random"); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestUnproved: a peer that did not answer with the next key is named, although it has made a
// handshake with the old one by the time at which the host, which is busy, looks again.
func TestUnproved(t *testing.T) {
	m := newModel()
	m.hook = func(change string) {
		if change == "switch" {
			m.cut = m.key == m.oldKey // until the host goes back
		}
	}
	p := newRun(m)
	for p.sw.Record.Phase != returned {
		if p.run(p.now + time.Millisecond); p.sw.Record.Phase == back && m.key == m.oldKey && m.session != m.oldKey {
			for m.session != m.oldKey {
				p.tick()
			}
		}
	}
	if got := p.sw.Record.unproved(); !slices.Equal(got, []keyring.PublicKey{shaleKey}) {
		t.Errorf("%d peers are named as silent, want shale", len(got))
	}
}
