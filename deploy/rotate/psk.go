package rotate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// A Pair is two hosts whose preshared key is replaced.
//
// WireGuard mixes it into the handshake and nothing else: a session keeps its own until
// REJECT_AFTER_TIME, three minutes, and is renewed after two (REKEY_AFTER_TIME). So nothing
// is lost if both ends change while the session is young. A handshake in between fails,
// since the ends have different keys, and is tried again after 5 s (REKEY_TIMEOUT).
type Pair struct {
	Tunnel   string
	Commands words.Commands
	Ends     [2]Participant
	Files    [2]string // of the preshared key, on either end
	Report   func(string)
}

// young is the age up to which a session is not about to be renewed. The time from then to
// REKEY_AFTER_TIME is for both ends to change.
const young = 95 * time.Second

// Fingerprints returns the fingerprints of the preshared keys in use at both ends; "" if
// the tunnel is not up, or has no such peer.
func (p *Pair) Fingerprints(ctx context.Context) (prints [2]string, err error) {
	_, prints, err = p.look(ctx)
	return prints, err
}

// look asks both ends for their state, and then for their fingerprints.
func (p *Pair) look(ctx context.Context) (live [2]Answer, prints [2]string, err error) {
	err = p.both(func(i int) (err error) {
		live[i], err = p.Ends[i].Look(ctx, p.Tunnel)
		return err
	})
	if err != nil {
		return live, prints, err
	}
	err = p.both(func(i int) error {
		if _, up := live[i].Live.Peers[live[1-i].Live.PublicKey]; !up {
			return nil
		}
		a, err := p.Ends[i].ask(ctx, Request{Do: DoPSK, Tunnel: p.Tunnel, KeyFile: p.Ends[i].KeyFile,
			Old: live[1-i].Live.PublicKey})
		prints[i] = a.PSK
		return err
	})
	return live, prints, err
}

// Replace makes both ends use the preshared key in their files, which has this fingerprint.
// An end whose tunnel is not up uses it when it comes up.
func (p *Pair) Replace(ctx context.Context, fingerprint string) error {
	live, err := p.quiet(ctx)
	if err != nil {
		return err
	}
	// After the first end has changed there is no way back, even if the user interrupts.
	ctx = context.WithoutCancel(ctx)
	var done [2]bool
	var failed error
	for until := time.Now().Add(40 * time.Second); ; time.Sleep(time.Second) {
		failed = p.both(func(i int) error {
			if _, up := live[i].Live.Peers[live[1-i].Live.PublicKey]; done[i] || !up {
				return nil
			}
			a, err := p.Ends[i].ask(ctx, Request{Do: DoPSK, Tunnel: p.Tunnel, Host: p.Ends[i].Host,
				KeyFile: p.Ends[i].KeyFile, Old: live[1-i].Live.PublicKey, PSKFile: p.Files[i], PSK: fingerprint})
			if err == nil && a.PSK != fingerprint {
				err = fault.NewHost("another preshared key is in use on host", p.Ends[i].Host, "its fingerprint is "+a.PSK, "")
			}
			done[i] = err == nil
			return err
		})
		if failed == nil || time.Now().After(until) {
			break
		}
	}
	if failed != nil {
		return fault.Wrap(failed, "the two ends may have different preshared keys:", p.Ends[0].Host+", "+p.Ends[1].Host,
			"within two minutes, or the tunnel stands still: "+p.Commands.Run("rotate --psk", p.Ends[0].Host))
	}
	return nil
}

// quiet waits until the session of the pair is young, and renews one without traffic.
// Without a session nothing can be lost.
func (p *Pair) quiet(ctx context.Context) ([2]Answer, error) {
	var live [2]Answer
	reported := false
	for until := time.Now().Add(45 * time.Second); ; {
		var err error
		if live, _, err = p.look(ctx); err != nil {
			return live, err
		}
		a, one := live[0].Age(live[1].Live.PublicKey)
		b, two := live[1].Age(live[0].Live.PublicKey)
		if !one && !two || max(a, b) < young || max(a, b) > 4*time.Minute || time.Now().After(until) {
			return live, nil
		}
		if !reported && p.Report != nil {
			p.Report("waiting for the session to be renewed")
			reported = true
		}
		// A keepalive renews a session that is older than REKEY_AFTER_TIME.
		if _, err := p.Ends[0].ask(ctx, Request{Do: DoLook, Tunnel: p.Tunnel, KeyFile: p.Ends[0].KeyFile,
			Peers: []keyring.PublicKey{live[1].Live.PublicKey}}); err != nil {
			return live, err
		}
		select {
		case <-ctx.Done():
			return live, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// PSK returns the fingerprint of the preshared key that the host uses with a peer: "" if
// there is none, the tunnel is not up, or has no such peer. With file it first makes the
// host use the one in that file, which has the given fingerprint; if the tunnel is not up,
// it will use it later.
func (p Participant) PSK(ctx context.Context, tunnel string, peer keyring.PublicKey, file, fingerprint string) (
	inUse string, err error,
) {
	live, err := p.Look(ctx, tunnel)
	if _, up := live.Live.Peers[peer]; err != nil || !up {
		return "", err
	}
	a, err := p.ask(ctx, Request{Do: DoPSK, Tunnel: tunnel, Host: p.Host, KeyFile: p.KeyFile, Old: peer, PSKFile: file,
		PSK: fingerprint})
	return a.PSK, err
}

func (p *Pair) both(do func(i int) error) error {
	errs := make(chan error, 1)
	go func() { errs <- do(1) }()
	first := do(0)
	return errors.Join(first, <-errs)
}

// String describes the pair.
func (p *Pair) String() string { return fmt.Sprintf("%s, %s", p.Ends[0].Host, p.Ends[1].Host) }
