package rotate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// A Party is a host as the controller reaches it.
type Party struct {
	Host    string
	KeyFile string // of its private key, absolute, on the host
	Ask     func(context.Context, Request) (Answer, error)
}

// A Rotation is the controller's part: one host gets another key, all its peers
// follow at once.
type Rotation struct {
	Tunnel string
	Host   Party
	Peers  []Party
	Next   keyring.PublicKey // that an earlier run has begun with; zero: none
	NoHold bool              // do not hold packets, also where it can be done
	Jobs   int               // how many hosts are asked at once
	Report func(Event)
}

// An Event is something that happened.
type Event struct {
	Host   string            `json:"host"` // whose key is replaced
	Tunnel string            `json:"tunnel"`
	Phase  string            `json:"phase"`          // "look", "staged", "proved" or "refused", and "finished"
	Text   string            `json:"text,omitempty"` // in words
	Key    keyring.PublicKey `json:"key,omitzero"`   // finished: the new one
}

// fresh is the age up to which a handshake tells that a session is alive: one
// that is used is renewed after two minutes (REKEY_AFTER_TIME), and none is used
// after three (REJECT_AFTER_TIME).
const fresh = 150 * time.Second

// A Survey is how things stand on the hosts of a rotation.
type Survey struct {
	host  Answer
	peers []Answer // as Rotation.Peers
}

// Live is the public key that the host uses now.
func (s *Survey) Live() keyring.PublicKey { return s.host.Live.PublicKey }

// CannotHold tells on which hosts packets cannot be held.
func (s *Survey) CannotHold(r *Rotation) []string {
	var names []string
	if !s.host.CanHold {
		names = append(names, r.Host.Host)
	}
	for i, a := range s.peers {
		if !a.CanHold {
			names = append(names, r.Peers[i].Host)
		}
	}
	return names
}

// Survey asks all hosts. It refuses what cannot be rotated: a tunnel that is not
// up, a peer that cannot be reached or does not know the host. Where another run
// has left something under way, it waits for the end of that, and ends what an
// earlier run for the same key has left.
func (r *Rotation) Survey(ctx context.Context) (*Survey, error) {
	until, told := time.Now().Add(r.patience()+linger+DeadMan), ""
	for {
		s, err := r.look(ctx)
		if err != nil {
			return nil, err
		}
		busy := s.busy(r)
		if busy == nil {
			return s, s.check(r)
		}
		if time.Now().After(until) {
			return nil, busy
		}
		if text := busy.Error(); text != told {
			r.report("look", "%s; waiting for its end", text)
			told = text
		}
		r.endLeft(ctx, s)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (r *Rotation) look(ctx context.Context) (*Survey, error) {
	s := &Survey{peers: make([]Answer, len(r.Peers))}
	err := r.all(ctx, func(ctx context.Context, i int, p Party) error {
		a, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile})
		if i < 0 {
			s.host = a
		} else {
			s.peers[i] = a
		}
		if err != nil && i >= 0 {
			return fault.Wrap(err, "will not rotate the key of "+r.Host.Host+": no answer from peer", p.Host,
				"mend that, or leave the peer behind: wgkeys rotate "+r.Host.Host+" --skip "+p.Host)
		}
		return err
	})
	return s, err
}

// endLeft ends the watches of an earlier run for the same key, which was lost
// before it could: the watchers alone would wait for up to a minute. Where the
// host itself takes no part it stays with the key that it has.
func (r *Rotation) endLeft(ctx context.Context, s *Survey) {
	if s.host.Record != nil && !s.host.Record.Over() {
		return
	}
	r.peers(ctx, func(ctx context.Context, i int, p Party) error {
		left := s.peers[i].Record
		if left == nil || left.Over() || left.Switch || left.Next != r.Next {
			return nil
		}
		_, err := p.ask(ctx, Request{Do: DoEnd, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Next: r.Next})
		return err
	})
}

// busy returns what is under way on a host, or nil.
func (s *Survey) busy(r *Rotation) error {
	under := func(a Answer, host string) error {
		if a.Record == nil || a.Record.Over() {
			return nil
		}
		return fault.New("a rotation is under way on host", host, "the key of "+a.Record.Host+" is "+string(a.Record.Phase),
			"try again in a minute")
	}
	if err := under(s.host, r.Host.Host); err != nil {
		return err
	}
	for i, a := range s.peers {
		if err := under(a, r.Peers[i].Host); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a tunnel that is not as the rotation needs it.
func (s *Survey) check(r *Rotation) error {
	if s.Live().IsZero() {
		return fault.New("cannot rotate the key of host", r.Host.Host, "tunnel "+r.Tunnel+" is not up there",
			"wgkeys apply "+r.Host.Host)
	}
	var errs []error
	for i, a := range s.peers {
		name := r.Peers[i].Host
		if a.Live.PublicKey.IsZero() {
			errs = append(errs, fault.New("cannot rotate the key of "+r.Host.Host+" with peer", name,
				"tunnel "+r.Tunnel+" is not up there", "wgkeys apply "+name))
			continue
		}
		if _, ok := s.host.Live.Peers[a.Live.PublicKey]; !ok {
			errs = append(errs, fault.New("cannot rotate the key of "+r.Host.Host+" with peer", name,
				r.Host.Host+" does not know the key that it uses", "wgkeys apply "+r.Host.Host))
		}
	}
	return errors.Join(errs...)
}

// Sessions makes sure that the host has a session with every peer before it is
// touched: what cannot be proved now could not be proved then.
func (r *Rotation) Sessions(ctx context.Context, s *Survey) error {
	var dead []keyring.PublicKey
	var far []Party
	for i, a := range s.peers {
		if _, ok := a.Live.Peers[s.Live()]; !ok {
			return fault.New("cannot rotate the key of "+r.Host.Host+" with peer", r.Peers[i].Host,
				"it does not know the key that "+r.Host.Host+" uses", "wgkeys apply "+r.Peers[i].Host)
		}
		if !s.alive(a.Live.PublicKey) {
			dead, far = append(dead, a.Live.PublicKey), append(far, r.Peers[i])
		}
	}
	if dead == nil {
		return nil
	}
	r.report("look", "waking %d peers that have been silent", len(dead))
	wake := &Rotation{Tunnel: r.Tunnel, Host: r.Host, Peers: far, Jobs: r.Jobs}
	err := wake.all(ctx, func(ctx context.Context, i int, p Party) error {
		if i < 0 {
			return nil
		}
		_, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Peers: []keyring.PublicKey{s.Live()}})
		return err
	})
	if err == nil {
		s.host, err = r.Host.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: r.Host.KeyFile, Peers: dead})
	}
	if err != nil {
		return err
	}
	var errs []error
	for i, key := range dead {
		if !s.alive(key) {
			errs = append(errs, fault.New("will not rotate the key of "+r.Host.Host+": no handshake with peer", far[i].Host,
				"so the next key could not be proved", "wgkeys status "+far[i].Host+"; or leave the peer behind: wgkeys rotate "+
					r.Host.Host+" --skip "+far[i].Host))
		}
	}
	return errors.Join(errs...)
}

func (s *Survey) alive(peer keyring.PublicKey) bool {
	age, ok := s.host.Age(peer)
	return ok && age < fresh && s.host.Live.Peers[peer].Endpoint != ""
}

// Turn replaces the key that the host uses by next, whose private half is on the
// host already.
func (r *Rotation) Turn(ctx context.Context, s *Survey, next keyring.PublicKey) error {
	var unused keyring.PublicKey
	if err := r.arm(ctx, s, next); err != nil {
		r.end(context.WithoutCancel(ctx), unused, next)
		return err
	}
	r.report("staged", "the next key of %s waits at %s", r.Host.Host, count(len(r.Peers), "peer"))
	record, err := r.turn(ctx, s, next)
	// From here on there is no way back for us, whoever wants us to stop.
	ctx = context.WithoutCancel(ctx)
	switch {
	case errors.Is(err, errNotBegun):
		r.end(ctx, unused, next)
		return err
	case err != nil:
		return fault.Wrap(err, "lost sight of the rotation of host", r.Host.Host,
			"it ends by itself within half a minute, with the next key or the old one; then: wgkeys rotate "+r.Host.Host)
	case record.Phase != Kept:
		r.end(ctx, unused, next)
		return fault.New("the key of this host was not replaced:", r.Host.Host,
			record.Why+s.names(r, record.Unproved())+"; it uses the old one again", "wgkeys status "+r.Host.Host+", then wgkeys rotate "+r.Host.Host)
	}
	r.report("proved", "%s answered with the next key", count(len(record.Proved), "peer"))
	err = r.end(ctx, s.Live(), next)
	if record.Why != "" {
		return fault.New("the next key is in use, and not in the key file, on host", r.Host.Host, record.Why,
			"mend that, then: wgkeys rotate "+r.Host.Host)
	}
	return err
}

// errNotBegun marks the error of a switch that never was.
var errNotBegun = errors.New("nothing was changed")

// names returns the hosts with the given keys, for the end of a sentence.
func (s *Survey) names(r *Rotation, keys []keyring.PublicKey) string {
	text := ""
	for _, key := range keys {
		for i, a := range s.peers {
			if a.Live.PublicKey == key {
				text += ", " + r.Peers[i].Host
			}
		}
	}
	if text == "" {
		return ""
	}
	return " (" + text[2:] + ")"
}

func (r *Rotation) arm(ctx context.Context, s *Survey, next keyring.PublicKey) error {
	return r.peers(ctx, func(ctx context.Context, i int, p Party) error {
		_, err := p.ask(ctx, Request{Do: DoWatch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: s.Live(), Next: next,
			KeyFile: p.KeyFile, Within: r.patience(), Hold: !r.NoHold && s.peers[i].CanHold})
		return err
	})
}

// patience is how long the first watcher may have to wait: until the last one is
// there, and the switch.
func (r *Rotation) patience() time.Duration {
	return time.Minute + time.Duration(len(r.Peers)/max(1, r.Jobs))*5*time.Second
}

// turn switches, and hears from the host or, where the connection is lost, from
// another connection, what became of it.
func (r *Rotation) turn(ctx context.Context, s *Survey, next keyring.PublicKey) (*Record, error) {
	q := Request{Do: DoSwitch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: s.Live(), Next: next,
		KeyFile: r.Host.KeyFile, Hold: !r.NoHold && s.host.CanHold}
	for _, a := range s.peers {
		q.Peers = append(q.Peers, a.Live.PublicKey)
	}
	a, err := r.Host.ask(ctx, q)
	if err == nil && (a.Record == nil || !a.Record.Over()) {
		err = fault.New("cannot understand wgkeys on host", r.Host.Host, "it does not say what became of the switch", "install the same wgkeys on all hosts")
	}
	q.Do = DoOutcome
	for until := time.Now().Add(linger); err != nil && time.Now().Before(until); time.Sleep(time.Second) {
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		again, lost := r.Host.ask(try, q)
		cancel()
		if lost == nil && s.host.before(again.Record) {
			return nil, fmt.Errorf("%w; %w", err, errNotBegun)
		}
		if lost == nil && again.Record.Over() {
			return again.Record, nil
		}
	}
	return a.Record, err
}

// before reports whether a host that has r now has begun nothing since it gave the
// answer: an earlier attempt with the same next key leaves its record behind.
func (a Answer) before(r *Record) bool {
	return r == nil || a.Record != nil && a.Record.Next == r.Next && a.Record.Since == r.Since
}

// end tells the watchers that nothing more is to come; with old, that the next key
// is in use for good. One that cannot be reached now ends by itself. But where its
// host began anew it is gone, and the host has the old key: so the rotation is not
// over until all have been heard.
func (r *Rotation) end(ctx context.Context, old, next keyring.PublicKey) error {
	return r.peers(ctx, func(ctx context.Context, i int, p Party) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err := p.ask(ctx, Request{Do: DoEnd, Tunnel: r.Tunnel, Host: r.Host.Host, KeyFile: p.KeyFile, Old: old, Next: next})
		if err == nil || old.IsZero() {
			return nil
		}
		return fault.Wrap(err, "the next key of "+r.Host.Host+" is in use; it is not known whether the old one is gone from peer", p.Host,
			"wgkeys rotate "+r.Host.Host+" finishes it")
	})
}

// Finish completes the rotation of a host that uses next already: an earlier run
// was lost after the switch. What the kernels and key files have does not tell
// whether the hosts remember it for the next boot, so all are asked; they do
// nothing where nothing is left to do.
func (r *Rotation) Finish(ctx context.Context, old, next keyring.PublicKey) error {
	if _, err := r.Host.ask(ctx, Request{Do: DoPromote, Tunnel: r.Tunnel, Next: next, KeyFile: r.Host.KeyFile}); err != nil {
		return err
	}
	return r.peers(ctx, func(ctx context.Context, i int, p Party) error {
		return r.replace(ctx, p, old, next)
	})
}

func (r *Rotation) replace(ctx context.Context, p Party, old, next keyring.PublicKey) error {
	_, err := p.ask(ctx, Request{Do: DoReplace, Tunnel: r.Tunnel, Host: r.Host.Host, KeyFile: p.KeyFile, Old: old, Next: next})
	return err
}

// Now replaces a key that was stolen: first no peer takes the old one any more,
// then the host gets the next one. Packets may be lost. A peer that cannot be
// reached still takes the old key, and is an error that names it.
func (r *Rotation) Now(ctx context.Context, old, next keyring.PublicKey, install func(context.Context) error) error {
	// The host is armed first, because the way to it may lead through the tunnel
	// that the peers are about to close.
	armed := install(ctx)
	if armed == nil {
		armed = r.switchNow(ctx, old, next)
	}
	err := r.refused(ctx, old, func(ctx context.Context, p Party) error { return r.replace(ctx, p, old, next) })
	if armed == nil {
		armed = r.outcomeNow(ctx, next)
	}
	if armed != nil {
		armed = fault.Wrap(armed, "the next key is not in use on host", r.Host.Host,
			"when it can be reached: wgkeys push "+r.Host.Host+" && wgkeys apply "+r.Host.Host)
	}
	return errors.Join(err, armed)
}

// Refuse has no peer take a stolen key any more, where there is no other one to
// take in its place.
func (r *Rotation) Refuse(ctx context.Context, old keyring.PublicKey) error {
	return r.refused(ctx, old, func(ctx context.Context, p Party) error {
		_, err := p.ask(ctx, Request{Do: DoRefuse, Tunnel: r.Tunnel, Host: r.Host.Host, KeyFile: p.KeyFile, Old: old})
		return err
	})
}

// refused asks every peer to take a key no more, and names those that still do.
func (r *Rotation) refused(ctx context.Context, old keyring.PublicKey, ask func(context.Context, Party) error) error {
	return r.peers(ctx, func(ctx context.Context, i int, p Party) error {
		if err := ask(ctx, p); err != nil {
			return fault.Wrap(err, "the stolen key of "+r.Host.Host+" is still accepted by peer", p.Host,
				"at once, on "+p.Host+": wg set "+r.Tunnel+" peer "+old.String()+" remove")
		}
		r.report("refused", "%s refuses the old key", p.Host)
		return nil
	})
}

// outcomeNow asks what became of the switch, when it was to be done.
func (r *Rotation) outcomeNow(ctx context.Context, next keyring.PublicKey) error {
	var err error
	for until := time.Now().Add(delay + DeadMan); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
		var a Answer
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		a, err = r.Host.ask(try, Request{Do: DoOutcome, Tunnel: r.Tunnel, Next: next, KeyFile: r.Host.KeyFile})
		cancel()
		switch {
		case err != nil: // the way there may have to come back first
		case a.Record == nil || a.Record.Phase == Kept && a.Record.Why == "":
			return nil // nothing was to be done, or it is
		case a.Record.Over():
			return errors.New(a.Record.Why)
		}
	}
	if err == nil {
		err = errors.New("it does not say that it has changed to it")
	}
	return err
}

// switchNow has the host change to next from whichever key it uses.
func (r *Rotation) switchNow(ctx context.Context, old, next keyring.PublicKey) error {
	q := Request{Do: DoSwitch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: r.Idle(ctx, old), Next: next,
		KeyFile: r.Host.KeyFile, Now: true, Within: delay}
	if q.Old == next { // an earlier run was lost after the switch
		q.Do = DoPromote
	}
	_, err := r.Host.ask(ctx, q)
	return err
}

// Idle waits until the host takes part in no rotation, which is not for long, and
// returns the key that it uses: old where it cannot tell.
func (r *Rotation) Idle(ctx context.Context, old keyring.PublicKey) keyring.PublicKey {
	for until := time.Now().Add(delay + DeadMan + linger); ; {
		a, err := r.Host.Look(ctx, r.Tunnel)
		if err == nil && a.Record != nil && !a.Record.Over() && time.Now().Before(until) && ctx.Err() == nil {
			time.Sleep(200 * time.Millisecond)
			continue
		}
		if err != nil || a.Live.PublicKey.IsZero() {
			return old
		}
		return a.Live.PublicKey
	}
}

// delay is what the peers have before the host switches.
const delay = 3 * time.Second

// Look asks the host how its tunnel stands.
func (p Party) Look(ctx context.Context, tunnel string) (Answer, error) {
	return p.ask(ctx, Request{Do: DoLook, Tunnel: tunnel, KeyFile: p.KeyFile})
}

// Make has the host make a private key, its first one or the next one, and returns
// the public half. A key that it has made before is the one.
func (p Party) Make(ctx context.Context, tunnel string, first bool) (keyring.PublicKey, error) {
	a, err := p.ask(ctx, Request{Do: DoMake, Tunnel: tunnel, KeyFile: p.KeyFile, Now: first})
	if err == nil && a.Made.IsZero() {
		err = fault.New("no key was made on host", p.Host, "it names none", "install the same wgkeys there")
	}
	return a.Made, err
}

// ask adds the name of the host to what it says.
func (p Party) ask(ctx context.Context, q Request) (Answer, error) {
	q.Protocol = Protocol
	a, err := p.Ask(ctx, q)
	switch {
	case err != nil:
		return a, err
	case a.Protocol != Protocol:
		return a, fault.New("cannot rotate with host", p.Host,
			fmt.Sprintf("its wgkeys speaks version %d of the protocol, this one %d", a.Protocol, Protocol),
			"install the same wgkeys on all hosts")
	case a.Fault != nil:
		return a, fault.Wrap(a.Err(), "refused by host", p.Host, a.Fault.Hint)
	}
	return a, nil
}

// all runs f for the host, with -1, and all peers.
func (r *Rotation) all(ctx context.Context, f func(context.Context, int, Party) error) error {
	return r.run(ctx, -1, f)
}

func (r *Rotation) peers(ctx context.Context, f func(context.Context, int, Party) error) error {
	return r.run(ctx, 0, f)
}

// run returns the errors of all, in the order of the hosts.
func (r *Rotation) run(ctx context.Context, from int, f func(context.Context, int, Party) error) error {
	var group errgroup.Group
	group.SetLimit(max(1, r.Jobs))
	errs := make([]error, len(r.Peers)+1)
	for i := from; i < len(r.Peers); i++ {
		p := r.Host
		if i >= 0 {
			p = r.Peers[i]
		}
		group.Go(func() error {
			errs[i+1] = f(ctx, i, p)
			return nil
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (r *Rotation) report(phase, format string, args ...any) {
	if r.Report != nil {
		r.Report(Event{Host: r.Host.Host, Tunnel: r.Tunnel, Phase: phase, Text: fmt.Sprintf(format, args...)})
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
