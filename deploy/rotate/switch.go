package rotate

import (
	"context"
	"maps"
	"slices"
	"time"

	"wgkeys/keyring"
)

// A Switch is the role of the host whose key is replaced.
type Switch struct {
	Tunnel Tunnel
	Record *Record
	Save   func(*Record) error
	Clock  func() time.Duration

	holding bool
	sent    int64         // bytes, to all peers
	still   time.Duration // since when
	opening opening
	again   int // looks in a row that took too long
}

// Run runs the switch's role from the state in the record, and returns when it is over.
func (s *Switch) Run(ctx context.Context) error {
	defer s.Tunnel.Release()
	return role{s.Record, s.Save, s.Clock, s.step, sleep}.run(ctx)
}

func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

func (s *Switch) step() (time.Duration, error) {
	r, begun := s.Record, s.Clock()
	live, err := s.Tunnel.Look()
	if err != nil {
		return 0, err
	}
	switch {
	case s.outdated(begun):
		return 0, nil
	case live.PublicKey != r.Old && live.PublicKey != r.Next:
		r.Why = "somebody set another private key"
		return 0, s.end(returned)
	case r.Phase == Armed && r.Now && s.Clock() < r.Deadline:
		return r.pause(), nil
	case r.Phase == Armed && !r.Now && s.Clock() > r.Deadline:
		r.Why = "it took too long to begin, and its peers may have ceased to wait"
		return 0, s.end(returned)
	case r.Phase == Armed:
		return 0, s.begin(live)
	case r.Phase == switched && live.PublicKey == r.Old:
		return s.change(live)
	case r.Phase == switched:
		return s.prove(live)
	}
	return s.back(live)
}

// outdated reports whether a look that began then took so long that it is better repeated:
// this process may have stood still since. One that always takes long has to do.
func (s *Switch) outdated(begun time.Duration) bool {
	if s.Clock()-begun <= lookMost || s.again == 3 {
		s.again = 0
		return false
	}
	s.again++
	return true
}

// begin saves the record before the key changes: a process that continues from it has to
// know which handshakes there were before.
func (s *Switch) begin(live Live) error {
	r := s.Record
	r.noteHandshakes(live)
	now, armed := s.Clock(), *r
	r.Deadline = now + r.proof()
	r.enter(switched, now)
	err := s.Save(r)
	if err != nil {
		*r = armed
	}
	return err
}

// noteHandshakes notes the last handshakes of those who have to prove the next key, and reports
// whether there were others since the last time.
func (r *Record) noteHandshakes(live Live) (others bool) {
	for key, before := range r.Before {
		if now := live.Peers[key].Handshake; !now.Equal(before) {
			r.Before[key], others = now, true
		}
	}
	return others
}

// change switches to the next key. Nothing has changed before, so a process that stood still
// meanwhile leaves it: the watchers do not wait for ever.
func (s *Switch) change(live Live) (time.Duration, error) {
	r := s.Record
	switch {
	case s.Clock()-r.Since > changeMost:
		r.Why = "it took too long to change the key"
		return 0, s.end(returned)
	case r.Hold && !s.drained(live):
		return r.pause(), nil
	case r.noteHandshakes(live): // with the old key, which proves nothing
		return 0, s.Save(r)
	}
	if err := s.Tunnel.Switch(r.Next); err != nil {
		r.Why = err.Error()
		return 0, s.end(returned)
	}
	return 0, s.Tunnel.Nudge(others(live, r.Before))
}

// prove waits for the proof.
func (s *Switch) prove(live Live) (time.Duration, error) {
	r := s.Record
	waiting := r.judge(live)
	now, proved := s.Clock(), len(waiting) == 0
	if proved || !r.held(now) {
		s.Tunnel.Release()
	}
	switch {
	case proved || r.Now:
		return s.keep()
	case now > r.Deadline:
		r.Why = "not every peer answered"
		r.enter(back, now)
		return 0, s.Save(r)
	}
	return min(max(r.pause(), (now-r.Since)/16), calm), s.open(waiting, now)
}

// keep makes the next key the key file.
func (s *Switch) keep() (time.Duration, error) {
	r := s.Record
	if err := s.Tunnel.Promote(r.Next); err != nil {
		if s.Clock() < r.Deadline {
			return calm, err
		}
		r.Why = err.Error() // the key is proved and in use: the next run repairs its file
	}
	return 0, s.end(Kept)
}

// judge finds out which peers have proved the next key, and returns the others.
func (r *Record) judge(live Live) (waiting []keyring.PublicKey) {
	r.Proved = r.Proved[:0]
	for key, before := range r.Before {
		if renewed(live.Peers[key].Handshake, before) {
			r.Proved = append(r.Proved, key)
		} else {
			waiting = append(waiting, key)
		}
	}
	return waiting
}

// open begins handshakes with more of the peers that have not proved the key.
func (s *Switch) open(waiting []keyring.PublicKey, now time.Duration) error {
	next := s.opening.next(waiting, len(s.Record.Proved), now)
	if len(next) == 0 {
		return nil
	}
	if err := s.Tunnel.Nudge(next); err != nil {
		return err
	}
	s.opening.begin(next)
	return nil
}

// renewed reports whether there was a handshake since before. The clock of a host may have
// been set back meanwhile, so any other time counts.
func renewed(handshake, before time.Time) bool {
	return !handshake.IsZero() && !handshake.Equal(before)
}

// drained holds packets, and reports when those that were sent before have arrived: what a
// peer has not decrypted when it hears the next key is lost.
func (s *Switch) drained(live Live) bool {
	now, sent := s.Clock(), int64(0)
	for _, p := range live.Peers {
		sent += p.Sent
	}
	if !s.holding {
		s.Tunnel.Hold() // better without than not at all
	}
	if !s.holding || sent != s.sent {
		s.holding, s.sent, s.still = true, sent, now
	}
	return now-s.still >= settled || now-s.Record.Since >= holdMost/2
}

// back sets the old key again. If this process stood still until the watchers did not expect
// that any more, those that have proved the next key have dropped the old one: then it stays,
// and what becomes of the others is up to the controller.
func (s *Switch) back(live Live) (time.Duration, error) {
	r := s.Record
	late := s.Clock() > r.Deadline+returnMost
	if live.PublicKey == r.Next || late { // otherwise it may be with the old key that they answered
		r.judge(live)
	}
	if len(r.Proved) > 0 && late {
		r.Why = ""
		if live.PublicKey == r.Old { // it stood still while it set that
			if err := s.Tunnel.Switch(r.Next); err != nil {
				return 0, err
			}
		}
		return s.keep()
	}
	if live.PublicKey == r.Next {
		return 0, s.Tunnel.Switch(r.Old)
	}
	if err := s.Tunnel.Nudge(slices.Collect(maps.Keys(live.Peers))); err != nil {
		return 0, err
	}
	return 0, s.end(returned)
}

func (s *Switch) end(p Phase) error {
	s.Record.enter(p, s.Clock())
	return s.Save(s.Record)
}

// unproved returns the peers that have not proved the next key.
func (r *Record) unproved() []keyring.PublicKey {
	var missing []keyring.PublicKey
	for key := range r.Before {
		if !slices.Contains(r.Proved, key) {
			missing = append(missing, key)
		}
	}
	return missing
}
