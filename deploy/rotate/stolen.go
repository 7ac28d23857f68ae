package rotate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// ErrAccepted marks the error that some peer still accepts a stolen key.
var ErrAccepted = errors.New("the old key is still accepted")

// accepted is an error with that mark.
type accepted struct{ error }

func (a accepted) Is(target error) bool { return target == ErrAccepted }
func (a accepted) Unwrap() error        { return a.error }

// A theft is a key that was stolen, and its successor, if there is one.
type theft struct {
	*Rotation
	old, next keyring.PublicKey
}

// ReplaceNow replaces a key that was stolen: first no peer accepts the old one any more,
// then the host gets the next one. Packets may be lost. A peer that cannot be reached still
// accepts the old key, and is an error that names it, [ErrAccepted].
//
// The host is armed before that, because the way to it may lead through the tunnel that the
// peers are about to close. Whoever stole the key may control the host: the peers wait for
// it no longer than armFor, and its answers are not trusted. A passphrase may take longer;
// then the host is armed at the same time, if it can still be reached.
func (r *Rotation) ReplaceNow(
	ctx context.Context, old, next keyring.PublicKey, install func(context.Context) error,
) error {
	t := theft{r, old, next}
	arming, cancel := context.WithTimeout(ctx, refuseFor)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := install(arming)
		if err == nil {
			err = t.switchNow(arming)
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
	err := t.refused(ctx, func(ctx context.Context, p Participant) error {
		err := r.replace(ctx, p, Request{Old: old, Next: next, Stolen: true})
		if err == nil || !t.takesNeither(ctx, p) {
			return err
		}
		// A peer that was removed only from the kernel, by hand, would be back after its next
		// boot.
		if err := t.drop(ctx, p); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errNeither, err)
	})
	if late && err != nil {
		r.report("refused", "%v", err) // before anything that has to be waited for
	}
	if late {
		armed = <-done
	}
	if armed == nil {
		armed = t.outcomeNow(ctx)
	}
	if armed != nil {
		armed = fault.WrapHost(armed, "the next key is not in use on host", r.Host.Host,
			"when it can be reached: "+r.Commands.Run("push", r.Host.Host)+" && "+r.Commands.Run("apply", r.Host.Host))
	}
	return errors.Join(err, armed)
}

const (
	armFor    = 10 * time.Second // how long the peers wait for the host
	refuseFor = 30 * time.Second // how long a peer may take to refuse a key, and the host to be armed
)

// Revoke makes every peer refuse a stolen key, if there is no next key to accept instead. An
// interrupt does not stop it.
func (r *Rotation) Revoke(ctx context.Context, old keyring.PublicKey) error {
	t := theft{Rotation: r, old: old}
	return t.refused(ctx, t.drop)
}

func (t theft) drop(ctx context.Context, p Participant) error {
	_, err := p.ask(ctx, Request{Do: DoRefuse, Tunnel: t.Tunnel, Host: t.Host.Host, KeyFile: p.KeyFile, Old: t.old})
	return err
}

// Replaced reports whether [Rotation.ReplaceNow] found the old key in use at a peer. If
// not, an earlier run has replaced it.
func (r *Rotation) Replaced() bool { return r.replaced.Load() }

// refused makes every peer refuse a key, and returns those that still accept it. An
// interrupt does not stop it.
func (t theft) refused(ctx context.Context, ask func(context.Context, Participant) error) error {
	ctx = context.WithoutCancel(ctx)
	return t.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		ctx, cancel := context.WithTimeout(ctx, refuseFor)
		defer cancel()
		err := ask(ctx, p)
		if errors.Is(err, errNeither) {
			return fault.WrapHost(err,
				"the old key of "+t.Host.Host+" is refused, but its next key is not accepted, by peer", p.Host,
				t.Commands.Run("apply", p.Host))
		}
		if err != nil {
			return fault.WrapHost(accepted{err}, "the stolen key of "+t.Host.Host+" is still accepted by peer", p.Host,
				"at once, on "+p.Host+": wg set "+t.Tunnel+" peer "+t.old.String()+
					" remove; when it can be reached: "+t.Commands.Run("rotate --now", t.Host.Host))
		}
		t.report("refused", "%s refuses the old key", p.Host)
		return nil
	})
}

// errNeither marks the error of a peer that has refused the old key before, and does not
// accept the next one.
var errNeither = errors.New("it accepts neither key")

// takesNeither reports whether a peer is known to have neither key. A peer that has the
// next one, but reports an error, may restore the old one at its next boot.
func (t theft) takesNeither(ctx context.Context, p Participant) bool {
	a, err := p.Look(ctx, t.Tunnel)
	_, hasOld := a.Live.Peers[t.old]
	_, hasNext := a.Live.Peers[t.next]
	return err == nil && !a.Live.PublicKey.IsZero() && !hasOld && !hasNext
}

// outcomeNow asks for the outcome of the switch, after its time.
func (t theft) outcomeNow(ctx context.Context) error {
	var err error
	for until := time.Now().Add(delay + deadMan); time.Now().Before(until) &&
		ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
		var a Answer
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		a, err = t.Host.ask(try, Request{Do: DoOutcome, Tunnel: t.Tunnel, Next: t.next, KeyFile: t.Host.KeyFile})
		cancel()
		switch {
		case err != nil: // the way there may have to be restored first
		case a.Record == nil || a.Record.Phase == Kept && a.Record.Why == "":
			return nil // nothing had to be done, or it is done
		case a.Record.Over():
			return errors.New(a.Record.Why)
		}
	}
	if err == nil { // it may tell why there
		_, err = t.Host.Look(ctx, t.Tunnel)
	}
	if err == nil {
		err = errors.New("it does not say that it has changed to it")
	}
	return err
}

// switchNow makes the host change to the next key from whichever key it uses.
func (t theft) switchNow(ctx context.Context) error {
	q := Request{Do: DoSwitch, Tunnel: t.Tunnel, Host: t.Host.Host, Old: t.WaitIdle(ctx, t.old), Next: t.next,
		KeyFile: t.Host.KeyFile, Now: true, Within: delay}
	if q.Old == t.next { // an earlier run was lost after the switch
		q.Do = DoPromote
	}
	_, err := t.Host.ask(ctx, q)
	return err
}

// WaitIdle waits until the host takes part in no rotation, which does not take long, and
// returns the key that it uses: old if it does not answer.
func (r *Rotation) WaitIdle(ctx context.Context, old keyring.PublicKey) keyring.PublicKey {
	for until := time.Now().Add(delay + mostProof + mostProof + tail); ; {
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

// delay is the time that the peers have before the host switches.
const delay = 3 * time.Second
