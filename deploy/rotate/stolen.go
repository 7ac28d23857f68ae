package rotate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// ErrAccepted marks the error of a stolen key that some peer still takes.
var ErrAccepted = errors.New("the old key is still accepted")

// accepted is an error with that mark.
type accepted struct{ error }

func (a accepted) Is(target error) bool { return target == ErrAccepted }
func (a accepted) Unwrap() error        { return a.error }

// ReplaceNow replaces a key that was stolen: first no peer takes the old one any more,
// then the host gets the next one. Packets may be lost. A peer that cannot be
// reached still takes the old key, and is an error that names it, [ErrAccepted].
//
// The host is armed before that, because the way to it may lead through the tunnel
// that the peers are about to close. Whoever stole the key may have the host: the peers
// wait for it no longer than armFor, and what it says counts for nothing. A passphrase
// may take longer; then the host is armed beside them, where it can still be reached.
func (r *Rotation) ReplaceNow(
	ctx context.Context, old, next keyring.PublicKey, install func(context.Context) error,
) error {
	arming, cancel := context.WithTimeout(ctx, refuseFor)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := install(arming)
		if err == nil {
			err = r.switchNow(arming, old, next)
		}
		done <- err
	}()
	var armed error
	late := false
	select {
	case armed = <-done:
	case <-time.After(armFor):
		late = true
	}
	err := r.refused(ctx, old, func(ctx context.Context, p Participant) error {
		err := r.replace(ctx, p, old, next, true)
		if err == nil || !r.takesNeither(ctx, p, old, next) {
			return err
		}
		// Who took it from the kernel alone, by hand, would have it again at its next boot.
		if err := r.drop(ctx, p, old); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errNeither, err)
	})
	if late && err != nil {
		r.report("refused", "%v", err) // before whatever is waited for
	}
	if late {
		armed = <-done
	}
	if armed == nil {
		armed = r.outcomeNow(ctx, next)
	}
	if armed != nil {
		armed = fault.WrapHost(armed, "the next key is not in use on host", r.Host.Host,
			"when it can be reached: wgkeys push "+r.Host.Host+" && wgkeys apply "+r.Host.Host)
	}
	return errors.Join(err, armed)
}

const (
	armFor    = 10 * time.Second // what the peers wait for the host
	refuseFor = 30 * time.Second // what a peer has to refuse a key, and the host to be armed
)

// Revoke has no peer take a stolen key any more, where there is no other one to
// take in its place.
func (r *Rotation) Revoke(ctx context.Context, old keyring.PublicKey) error {
	return r.refused(ctx, old, func(ctx context.Context, p Participant) error { return r.drop(ctx, p, old) })
}

func (r *Rotation) drop(ctx context.Context, p Participant, old keyring.PublicKey) error {
	_, err := p.ask(ctx, Request{Do: DoRefuse, Tunnel: r.Tunnel, Host: r.Host.Host, KeyFile: p.KeyFile, Old: old})
	return err
}

// Replaced reports whether [Rotation.ReplaceNow] found the old key in use at a peer. Where it was
// not, an earlier run has replaced it.
func (r *Rotation) Replaced() bool { return r.replaced.Load() }

// refused asks every peer to take a key no more, and names those that still do. An
// interrupt does not keep it from that.
func (r *Rotation) refused(
	ctx context.Context, old keyring.PublicKey, ask func(context.Context, Participant) error,
) error {
	ctx = context.WithoutCancel(ctx)
	return r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		ctx, cancel := context.WithTimeout(ctx, refuseFor)
		defer cancel()
		err := ask(ctx, p)
		if errors.Is(err, errNeither) {
			return fault.WrapHost(err, "the old key is refused, and the next key of "+r.Host.Host+" not taken by peer", p.Host,
				"wgkeys apply "+p.Host)
		}
		if err != nil {
			return fault.WrapHost(accepted{err}, "the stolen key of "+r.Host.Host+" is still accepted by peer", p.Host,
				"at once, on "+p.Host+": wg set "+r.Tunnel+" peer "+old.String()+
					" remove; when it can be reached: wgkeys rotate --now "+r.Host.Host)
		}
		r.report("refused", "%s refuses the old key", p.Host)
		return nil
	})
}

// errNeither marks the error of a peer that refuses the old key since before, and does
// not take the next one.
var errNeither = errors.New("it takes neither key")

// takesNeither reports whether a peer is known to have none of the two keys. One that
// has the next one, and an error besides, may bring the old one back at its next boot.
func (r *Rotation) takesNeither(ctx context.Context, p Participant, old, next keyring.PublicKey) bool {
	a, err := p.Look(ctx, r.Tunnel)
	_, hasOld := a.Live.Peers[old]
	_, hasNext := a.Live.Peers[next]
	return err == nil && !a.Live.PublicKey.IsZero() && !hasOld && !hasNext
}

// outcomeNow asks what became of the switch, when it was to be done.
func (r *Rotation) outcomeNow(ctx context.Context, next keyring.PublicKey) error {
	var err error
	for until := time.Now().Add(delay + deadMan); time.Now().Before(until) &&
		ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
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
	q := Request{Do: DoSwitch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: r.WaitIdle(ctx, old), Next: next,
		KeyFile: r.Host.KeyFile, Now: true, Within: delay}
	if q.Old == next { // an earlier run was lost after the switch
		q.Do = DoPromote
	}
	_, err := r.Host.ask(ctx, q)
	return err
}

// WaitIdle waits until the host takes part in no rotation, which is not for long, and
// returns the key that it uses: old where it cannot tell.
func (r *Rotation) WaitIdle(ctx context.Context, old keyring.PublicKey) keyring.PublicKey {
	for until := time.Now().Add(delay + deadMan + linger); ; {
		try, cancel := context.WithTimeout(ctx, armFor)
		a, err := r.Host.Look(try, r.Tunnel)
		cancel()
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
