package rotate

import (
	"context"
	"errors"
	"time"
)

// A Watcher is the role of a host that is a peer of the one whose key is replaced.
type Watcher struct {
	Tunnel Tunnel
	Record *Record
	Save   func(*Record) error  // saves the record, so that another process can continue
	Clock  func() time.Duration // time since the host began
	Ended  func(*Record) bool   // whether the controller wants it to end

	// Begun receives a value when somebody begins a handshake with this host, before the
	// counters of the peer change. Some handshakes are missed. Nil: there is no notification.
	Begun <-chan struct{}

	heard int64         // bytes received with the old key
	still time.Duration // since when that is unchanged; 0: not looked yet
	alert time.Duration // until when something may change at any moment
	doze  time.Duration // until when to check only whether to end
}

// Run runs the watcher's role from the state in the record, and returns when it is over.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.Tunnel.Release()
	return role{w.Record, w.Save, w.Clock, w.step, w.wait}.run(ctx)
}

// wait waits until something may have changed.
func (w *Watcher) wait(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-w.Begun:
		w.watchClosely()
	case <-time.After(pause):
	}
}

func (w *Watcher) watchClosely() { w.alert = w.Clock() + soon }

// rest is how long to wait until the next look. With a notification the processor is left
// to others until then, among them the commands that arm the other peers.
func (w *Watcher) rest() time.Duration {
	switch {
	case w.Begun == nil || w.Clock() < w.alert:
		return w.Record.pause()
	case w.Record.Hold:
		return idleHeld
	}
	return idle
}

// A role is what the switch and the watcher have in common: steps with a pause after each.
type role struct {
	record *Record
	save   func(*Record) error
	clock  func() time.Duration
	step   func() (pause time.Duration, err error)
	wait   func(context.Context, time.Duration)
}

// run takes steps until the role is over. A step that fails is tried again, since another
// host may be waiting for this one. If steps fail for longer than anybody waits, run gives
// up: somebody has removed the tunnel, and cannot apply it again while the role runs.
func (o role) run(ctx context.Context) error {
	r := o.record
	for good := o.clock(); !r.Over(); {
		begun := o.clock()
		pause, err := o.step()
		now := o.clock()
		if r.Phase == Armed || r.Hold { // on a busy machine, leave half of the processor to others
			pause = max(pause, min(now-begun, calm))
		}
		switch {
		case err == nil:
			good = now
		case now-good > r.hopeless():
			r.Why = err.Error()
			r.enter(returned, now)
			return errors.Join(err, o.save(r))
		default:
			pause = calm
		}
		if o.wait(ctx, pause); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// step looks once, does what is necessary, and returns how long to wait before the next look.
func (w *Watcher) step() (time.Duration, error) {
	if now := w.Clock(); now < w.doze && now >= w.alert && !w.Ended(w.Record) {
		return idle, nil
	}
	live, err := w.Tunnel.Look()
	if err != nil {
		return 0, err
	}
	if w.Record.Phase == Armed {
		err := w.armed(live)
		return w.rest(), err
	}
	return w.following(live)
}

// armed waits until something is received with the next key, and until nothing more comes
// with the old one: a handshake may overtake packets, and those that arrive after the
// allowed IPs have left the old peer are dropped.
func (w *Watcher) armed(live Live) error {
	r := w.Record
	next, staged := live.Peers[r.Next]
	if next.Received > 0 {
		w.watchClosely()
	}
	switch {
	case next.AllowedIPs > 0, // an earlier process was killed while it followed
		next.Received > 0 && w.quiet(live.Peers[r.Old].Received):
		return w.follow(switched, live)
	case w.Clock() > r.Deadline || w.Ended(r):
		r.Why = "nobody switched"
		return w.settle(returned)
	case !staged: // somebody removed it
		return w.Tunnel.Stage(r.Old, r.Next)
	}
	return nil
}

// quiet reports whether nothing was received with the old key lately: since the last look or,
// if packets are held and there is time to wait for more, for a while.
func (w *Watcher) quiet(received int64) bool {
	now := w.Clock()
	if w.still == 0 || received != w.heard {
		w.heard, w.still = received, now
		return false
	}
	return !w.Record.Hold || now-w.still >= settled
}

// follow changes to the other key. It records the counters of the key that it leaves, since
// only an increase shows that the host uses that key again. The record is written last: if
// this process is killed before that, the next one follows again.
func (w *Watcher) follow(p Phase, live Live) error {
	r := w.Record
	from, to := r.Old, r.Next
	if p == back {
		from, to = to, from
	}
	if r.Hold {
		w.Tunnel.Hold() // if it fails, go on without it
	}
	if err := w.Tunnel.Follow(from, to); err != nil {
		return err
	}
	r.Other = live.Peers[from]
	r.enter(p, w.Clock())
	return w.Save(r)
}

// following keeps to one key until there is a sign that the host uses the other one: a
// handshake with it, or packets with it while the present key gets no answer.
func (w *Watcher) following(live Live) (time.Duration, error) {
	r := w.Record
	mine, other, sign := live.Peers[r.Next], live.Peers[r.Old], back
	if r.Phase == back {
		mine, other, sign = other, mine, switched
	}
	age := w.Clock() - r.Since
	answered := !mine.Handshake.IsZero() // the peer is a new one since follow
	if answered || !r.held(w.Clock()) {
		w.Tunnel.Release()
	}
	if age < stragglers {
		r.Other.Received = other.Received
	}
	switch {
	case renewed(other.Handshake, r.Other.Handshake),
		!answered && age > doubt && other.Received > r.Other.Received:
		return 0, w.follow(sign, live)
	case answered && (age > r.linger() || w.Ended(r)), age > giveUp:
		if r.Phase == back {
			return 0, w.settle(returned)
		}
		return 0, w.settle(Kept)
	case answered || age > holdMost:
		pause := max(calm, min(w.rest(), idle))
		if pause == idle {
			w.doze = w.Clock() + dozing
		}
		return pause, nil
	}
	return r.since(age), nil
}

// settle ends the role, and removes the peer that is not needed any more.
func (w *Watcher) settle(p Phase) error {
	r := w.Record
	if p == returned {
		if err := w.Tunnel.Drop(r.Next); err != nil {
			return err
		}
	} else {
		if err := w.Tunnel.Drop(r.Old); err != nil {
			return err
		}
		if err := w.Tunnel.Rekey(r.Old, r.Next); err != nil {
			r.Why = err.Error() // the next key is in use nevertheless, and an apply does the rest
		}
	}
	r.enter(p, w.Clock())
	return w.Save(r)
}
