package rotate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

// A Participant is a host as the controller reaches it.
type Participant struct {
	Host    string
	KeyFile string // absolute path of its private key on the host
	Upgrade string // how to upgrade wgkeys there; "": not known
	Ask     func(context.Context, Request) (Answer, error)
}

// A Rotation is the controller's role: one host gets another key, and all its peers follow
// at the same time.
type Rotation struct {
	Tunnel   string
	Host     Participant
	Peers    []Participant
	Next     keyring.PublicKey // that an earlier run has begun with; zero: none
	NoHold   bool              // do not hold packets, also where it can be done
	Jobs     int               // how many hosts are asked at once
	Report   func(Event)
	Flags    []string // of the command line, for a hint that repeats it
	Commands words.Commands

	// NoAnswer reports whether an error means that a host could not be asked at all. With
	// SkipUnreachable such a peer, or one without a session, is left behind, and is in
	// LeftBehind then.
	NoAnswer        func(error) bool
	SkipUnreachable bool
	LeftBehind      []string

	run      string        // identifies this run; see claim
	looked   time.Duration // how long the last look at all hosts took
	replaced atomic.Bool   // see Replaced
}

// An Event is something that happened.
type Event struct {
	Host   string            `json:"host"` // the host whose key is replaced
	Tunnel string            `json:"tunnel"`
	Phase  string            `json:"phase"`          // "plan", "look", "staged", "proved" or "refused", and "finished"
	Text   string            `json:"text,omitempty"` // in words
	Key    keyring.PublicKey `json:"key,omitzero"`   // finished: the new one
}

// Replace replaces the key that the host uses by next. The private key of next is on the
// host already.
func (r *Rotation) Replace(ctx context.Context, s *Survey, next keyring.PublicKey) error {
	var unused keyring.PublicKey
	keep, err := r.claim(ctx, s)
	if err != nil {
		return err
	}
	// The host first: a switch that is still on its way to it must find no claim, or nobody
	// would follow. If that is not certain the watchers wait for it.
	giveUp := func(err error) error {
		ctx := context.WithoutCancel(ctx)
		if r.unclaim(ctx) == nil {
			r.end(ctx, unused, next)
		}
		return err
	}
	err = r.arm(ctx, s, next)
	keep()
	if err != nil {
		return giveUp(err)
	}
	r.report("staged", "the next key of %s waits at %s", r.Host.Host, countPeers(len(r.Peers)))
	record, err := r.switchOver(ctx, s, next)
	// From here on there is no way back, even if the user interrupts.
	ctx = context.WithoutCancel(ctx)
	switch {
	case errors.Is(err, errNotBegun):
		return giveUp(err)
	case err != nil:
		return fault.WrapHost(err, "lost sight of the rotation of host", r.Host.Host,
			"it ends by itself within a minute, with the next key or the old one; then: "+r.Commands.Run("rotate", r.Host.Host))
	case record.Phase != Kept:
		r.end(ctx, unused, next)
		return fault.NewHost("the key of this host was not replaced:", r.Host.Host,
			record.Why+s.namesOf(r, record.unproved())+"; it uses the old one again", r.Commands.Run("status", r.Host.Host)+
				", then "+r.Commands.Run("rotate", r.Host.Host))
	}
	r.report("proved", "%s answered with the next key", countPeers(len(record.Proved)))
	err = r.end(ctx, s.Live(), next)
	if record.Why != "" {
		return fault.NewHost("the next key is in use, and not in the key file, on host", r.Host.Host, record.Why,
			"fix that, then: "+r.Commands.Run("rotate", r.Host.Host))
	}
	return err
}

// errNotBegun marks the error of a switch that did not begin.
var errNotBegun = errors.New("nothing was changed on the hosts")

// namesOf returns the names of the hosts with the given keys, for the end of a sentence.
func (s *Survey) namesOf(r *Rotation, keys []keyring.PublicKey) string {
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
	return r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		a, err := p.ask(ctx, Request{Do: DoWatch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: s.Live(), Next: next, Run: r.run,
			KeyFile: p.KeyFile, Within: r.patience(), Hold: !r.NoHold && s.peers[i].CanHold, Prove: s.proof(), Stay: true})
		if err == nil && a.Live.PublicKey != s.peers[i].Live.PublicKey { // from now on it cannot be
			err = fault.NewHost("the key was replaced by somebody else meanwhile, on peer", p.Host,
				"nothing was changed by this run",
				"git pull, then "+r.Commands.Run("rotate", r.Host.Host))
		}
		return err
	})
}

// patience is how long the first watcher may have to wait: until the last one is ready, and
// the switch begins. If that takes longer, the host refuses to switch.
func (r *Rotation) patience() time.Duration {
	return time.Minute + r.reach()
}

// switchOver makes the host switch, and learns the outcome from the host or, if the
// connection is lost, over another connection.
func (r *Rotation) switchOver(ctx context.Context, s *Survey, next keyring.PublicKey) (*Record, error) {
	q := Request{Do: DoSwitch, Tunnel: r.Tunnel, Host: r.Host.Host, Old: s.Live(), Next: next,
		KeyFile: r.Host.KeyFile, Run: r.run, Hold: !r.NoHold && s.host.CanHold, Prove: s.proof(),
		Within: r.patience() - beginMost}
	for _, a := range s.peers {
		q.Peers = append(q.Peers, a.Live.PublicKey)
	}
	a, err := r.Host.ask(ctx, q)
	if err == nil && (a.Record == nil || !a.Record.Over()) {
		err = fault.NewHost("cannot understand wgkeys on host", r.Host.Host, "it does not say what became of the switch",
			"install the same wgkeys on all hosts")
	}
	q.Do = DoOutcome
	for until := time.Now().Add(s.proof() + tail); err != nil && time.Now().Before(until); time.Sleep(time.Second) {
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

// before reports whether a host whose record is r has begun nothing since it gave the
// answer: an earlier attempt with the same next key leaves its record behind.
func (a Answer) before(r *Record) bool {
	return r == nil || a.Record != nil && a.Record.Next == r.Next && a.Record.Since == r.Since
}

// end tells the watchers that nothing more will come; with old, that the next key is in use
// permanently. A watcher that cannot be reached now ends by itself. But if its host has
// rebooted since, the watcher is gone, and the host has the old key: so the rotation is not
// over until all have answered.
func (r *Rotation) end(ctx context.Context, old, next keyring.PublicKey) error {
	return r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err := p.ask(ctx, Request{Do: DoEnd, Tunnel: r.Tunnel, Host: r.Host.Host, KeyFile: p.KeyFile, Old: old, Next: next,
			Run: r.run})
		if err == nil || old.IsZero() {
			return nil
		}
		return fault.WrapHost(err, "the next key of "+r.Host.Host+
			" is in use; it is not known whether the old one is gone from peer", p.Host,
			r.Commands.Run("rotate", r.Host.Host)+" finishes it")
	})
}

// Finish completes the rotation of a host that uses next already: an earlier run was lost
// after the switch. The kernels and key files do not show whether the hosts have stored it
// for the next boot, so all are asked; they do nothing if nothing is left to do.
func (r *Rotation) Finish(ctx context.Context, old, next keyring.PublicKey) error {
	if _, err := r.Host.ask(ctx, Request{Do: DoPromote, Tunnel: r.Tunnel, Next: next,
		KeyFile: r.Host.KeyFile}); err != nil {
		return err
	}
	return r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		return r.replace(ctx, p, Request{Old: old, Next: next})
	})
}

// replace has the peer p replace the old key with the next one. Of q only Old, Next and
// Stolen are set.
func (r *Rotation) replace(ctx context.Context, p Participant, q Request) error {
	q.Do, q.Tunnel, q.Host, q.KeyFile = DoReplace, r.Tunnel, r.Host.Host, p.KeyFile
	a, err := p.ask(ctx, q)
	if a.Replaced {
		r.replaced.Store(true)
	}
	return err
}

// Look asks the host for the state of its tunnel.
func (p Participant) Look(ctx context.Context, tunnel string) (Answer, error) {
	return p.ask(ctx, Request{Do: DoLook, Tunnel: tunnel, KeyFile: p.KeyFile})
}

// A Which says which key a host should make.
type Which int

const (
	First Which = iota // the first one
	Next               // the next one; if it has made one before, that one
	Fresh              // the next one; one that it has may be stolen
)

// Make makes a private key on the host and returns the public one.
func (p Participant) Make(ctx context.Context, tunnel string, which Which) (keyring.PublicKey, error) {
	if which == Fresh { // whoever stole the key may control the host
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, armFor)
		defer cancel()
	}
	a, err := p.ask(ctx, Request{Do: DoMake, Tunnel: tunnel, KeyFile: p.KeyFile, Now: which == First,
		Fresh: which == Fresh})
	if err == nil && a.Made.IsZero() {
		err = fault.NewHost("no key was made on host", p.Host, "it names none", "install the same wgkeys there")
	}
	return a.Made, err
}

// ask adds the name of the host to its errors.
func (p Participant) ask(ctx context.Context, q Request) (Answer, error) {
	a, err := p.askIn(ctx, q)
	if err != nil {
		return a, err
	}
	return a, p.refused(a)
}

// refused is why the host did not do it, or nil.
func (p Participant) refused(a Answer) error {
	if a.Fault == nil {
		return nil
	}
	return fault.WrapHost(a.Err(), "refused by host", p.Host, a.Fault.Hint)
}

// peers runs f for all peers, with their indices, and joins the errors in that order.
func (r *Rotation) peers(ctx context.Context, f func(context.Context, int, Participant) error) error {
	return errors.Join(r.errors(ctx, 0, f)...)
}

// errors runs f for the peers from an index on; -1 is the host. It returns the error or nil
// of the host, and then of each peer.
func (r *Rotation) errors(ctx context.Context, from int, f func(context.Context, int, Participant) error) []error {
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
	return errs
}

func (r *Rotation) report(phase, format string, args ...any) {
	if r.Report != nil {
		r.Report(Event{Host: r.Host.Host, Tunnel: r.Tunnel, Phase: phase, Text: fmt.Sprintf(format, args...)})
	}
}

func countPeers(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}
