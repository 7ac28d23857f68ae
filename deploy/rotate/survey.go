package rotate

import (
	"context"
	"errors"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

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

// CannotHold tells on which hosts packets cannot be held, and why.
func (s *Survey) CannotHold(r *Rotation) []string {
	var names []string
	add := func(a Answer, host string) {
		if a.HoldWhy != "" {
			host += " (" + a.HoldWhy + ")"
		}
		if !a.CanHold {
			names = append(names, host)
		}
	}
	add(s.host, r.Host.Host)
	for i, a := range s.peers {
		add(a, r.Peers[i].Host)
	}
	return names
}

// Survey asks all hosts. It refuses what cannot be rotated: a tunnel that is not
// up, a peer that cannot be reached or does not know the host. Where another run
// has left something under way, it waits for the end of that, and ends what an
// earlier run for the same key has left.
func (r *Rotation) Survey(ctx context.Context) (*Survey, error) {
	until, last := time.Now().Add(r.patience()+linger+deadMan), ""
	var before *Survey
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
		if text := busy.Error(); text != last {
			r.report("look", "%s; waiting for its end", text)
			last = text
		}
		if before != nil {
			r.endLeft(ctx, before, s)
		}
		before = s
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (r *Rotation) look(ctx context.Context) (*Survey, error) {
	s := &Survey{peers: make([]Answer, len(r.Peers))}
	begun := time.Now()
	defer func() { r.looked = time.Since(begun) }()
	err := r.all(ctx, func(ctx context.Context, i int, p Participant) error {
		a, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Hold: !r.NoHold})
		if i < 0 {
			s.host = a
		} else {
			s.peers[i] = a
		}
		if err == nil && a.Protocol != Protocol { // enough for a look, not for the rest
			err = p.otherVersion(a)
		}
		if errors.Is(err, ErrVersion) && i >= 0 { // to leave the peer behind would be no help
			return fault.WrapHost(err, "will not rotate the key of "+r.Host.Host+" with peer", p.Host, "")
		}
		if err != nil && i >= 0 {
			return fault.WrapHost(err, "will not rotate the key of "+r.Host.Host+": no answer from peer", p.Host,
				"mend that, or leave the peer behind: wgkeys rotate "+r.Host.Host+" --skip "+p.Host)
		}
		return err
	})
	return s, err
}

// endLeft ends the watches of an earlier run for the same key, which was lost
// before it could: the watchers alone would wait for up to a minute. Where the
// host itself takes no part, and no other run is about to have it do so, it stays
// with the key that it has. A run claims the host before it arms a watch, so one
// that was armed before this look at the host belongs to nobody if there is no claim.
func (r *Rotation) endLeft(ctx context.Context, before, s *Survey) {
	if s.host.Claimed || s.host.Record != nil && !s.host.Record.Over() {
		return
	}
	r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		was, left := before.peers[i].Record, s.peers[i].Record
		if left == nil || left.Over() || left.Switch || left.Next != r.Next || was == nil || was.Run != left.Run ||
			was.Since != left.Since {
			return nil
		}
		_, err := p.ask(ctx, Request{Do: DoEnd, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Next: r.Next, Run: left.Run})
		return err
	})
}

// busy returns what is under way on a host, or nil.
func (s *Survey) busy(r *Rotation) error {
	under := func(a Answer, host string) error {
		if a.Record == nil || a.Record.Over() {
			return nil
		}
		return fault.NewHost("a rotation is under way on host", host,
			"the key of "+a.Record.Host+" is "+string(a.Record.Phase),
			"try again in a minute")
	}
	if err := under(s.host, r.Host.Host); err != nil {
		return err
	}
	if s.host.Claimed {
		return fault.NewHost("another wgkeys rotate is at work on host", r.Host.Host, "or one was lost up to "+
			(claimFor+r.reach()).String()+" ago",
			"try again in a minute")
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
		return fault.NewHost("cannot rotate the key of host", r.Host.Host, "tunnel "+r.Tunnel+" is not up there",
			"wgkeys apply "+r.Host.Host)
	}
	var errs []error
	for i, a := range s.peers {
		name := r.Peers[i].Host
		if a.Live.PublicKey.IsZero() {
			errs = append(errs, fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", name,
				"tunnel "+r.Tunnel+" is not up there", "wgkeys apply "+name))
			continue
		}
		if _, ok := s.host.Live.Peers[a.Live.PublicKey]; !ok {
			errs = append(errs, fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", name,
				r.Host.Host+" does not know the key that it uses", "wgkeys apply "+r.Host.Host))
		}
	}
	return errors.Join(errs...)
}

// EnsureSessions makes sure that the host has a session with every peer before it is
// touched: what cannot be proved now could not be proved then.
func (r *Rotation) EnsureSessions(ctx context.Context, s *Survey) error {
	var dead []keyring.PublicKey
	var far []Participant
	for i, a := range s.peers {
		if _, ok := a.Live.Peers[s.Live()]; !ok {
			return fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", r.Peers[i].Host,
				"it does not know the key that "+r.Host.Host+" uses", "wgkeys apply "+r.Peers[i].Host)
		}
		if !s.alive(a.Live.PublicKey) {
			dead, far = append(dead, a.Live.PublicKey), append(far, r.Peers[i])
		}
	}
	if dead == nil {
		return nil
	}
	r.report("look", "waking %s silent for long", count(len(dead), "peer"))
	wake := &Rotation{Tunnel: r.Tunnel, Host: r.Host, Peers: far, Jobs: r.Jobs}
	err := wake.all(ctx, func(ctx context.Context, i int, p Participant) error {
		if i < 0 {
			return nil
		}
		_, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Peers: []keyring.PublicKey{s.Live()}})
		return err
	})
	if err == nil {
		s.host, err = r.Host.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: r.Host.KeyFile, Hold: !r.NoHold,
			Peers: dead})
	}
	if err != nil {
		return err
	}
	var errs []error
	for i, key := range dead {
		if !s.alive(key) {
			errs = append(errs, fault.NewHost("will not rotate the key of "+r.Host.Host+": no handshake with peer", far[i].Host,
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
