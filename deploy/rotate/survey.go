package rotate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// fresh is the age up to which a handshake shows that a session is alive: a session with
// traffic is renewed after two minutes (REKEY_AFTER_TIME), and none is used after three
// (REJECT_AFTER_TIME).
const fresh = 150 * time.Second

// A Survey is the state of the hosts of a rotation.
type Survey struct {
	host  Answer
	peers []Answer // as Rotation.Peers
	names []string // of the peers, when the survey was made; some may have been left behind since
}

// of is the answer of the peer.
func (s *Survey) of(peer string) Answer {
	if i := slices.Index(s.names, peer); i >= 0 {
		return s.peers[i]
	}
	return Answer{}
}

// Live is the public key that the host uses now.
func (s *Survey) Live() keyring.PublicKey { return s.host.Live.PublicKey }

// proof is how long the host waits for proof, which all hosts have to know. Hosts of the
// previous version assume deadMan.
func (s *Survey) proof() time.Duration {
	for _, a := range append(s.peers[:len(s.peers):len(s.peers)], s.host) {
		if !a.Proves {
			return deadMan
		}
	}
	return proofTime(len(s.peers))
}

// CannotHold returns the hosts on which packets cannot be held, and why.
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

// Survey asks all hosts. It refuses if the key cannot be rotated: a tunnel that is not up,
// a peer that cannot be reached or does not know the host. If another run is under way it
// waits for its end, and it ends what an earlier run for the same key has left.
func (r *Rotation) Survey(ctx context.Context) (*Survey, error) {
	until, last := time.Now().Add(r.patience()+mostProof+mostProof+tail), ""
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
			return nil, r.stopped(ctx)
		case <-time.After(time.Second):
		}
	}
}

func (r *Rotation) look(ctx context.Context) (*Survey, error) {
	s := &Survey{peers: make([]Answer, len(r.Peers))}
	begun := time.Now()
	defer func() { r.looked = time.Since(begun) }()
	errs := r.errors(ctx, -1, func(ctx context.Context, i int, p Participant) error {
		a, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Hold: !r.NoHold, Stay: i >= 0})
		if i < 0 {
			s.host = a
		} else {
			s.peers[i] = a
		}
		if err == nil && a.Protocol != Protocol { // enough for a look, but not for the rest
			err = p.otherVersion(a)
		}
		return err
	})
	if ctx.Err() != nil { // no peer is to be left behind for that
		return s, r.stopped(ctx)
	}
	s.setNames(r)
	all, skip := errs[:1:1], skippingAll(r, errs[1:])
	for i, err := range errs[1:] {
		if err != nil && !(r.SkipUnreachable && noAnswer(r, err)) {
			all = append(all, unwilling(r, r.Peers[i].Host, err, skip))
		}
	}
	if r.SkipUnreachable {
		all = append(all, s.leaveBehind(r, func(i int) bool { return noAnswer(r, errs[i+1]) }))
	}
	return s, errors.Join(all...)
}

// stopped is the error of a rotation whose survey the user, or a limit of time, has ended.
func (r *Rotation) stopped(ctx context.Context) error {
	return fault.WrapHost(context.Cause(ctx), "did not rotate the key of", r.Host.Host, again(r))
}

func noAnswer(r *Rotation, err error) bool {
	return err != nil && r.NoAnswer != nil && r.NoAnswer(err)
}

// unwilling is the error of a peer that prevents the rotation, with the command that leaves
// all such peers behind.
func unwilling(r *Rotation, peer string, err error, skip string) error {
	if errors.Is(err, errVersion) { // leaving the peer behind would not help
		return fault.WrapHost(err, "will not rotate the key of "+r.Host.Host+" with peer", peer, "")
	}
	return fault.WrapHost(err, "will not rotate the key of "+r.Host.Host+": no answer from peer", peer,
		"mend that, or "+skip)
}

// skippingAll is the command that leaves behind all peers that prevent the rotation,
// whether they cannot be reached or lack wgkeys: a command for some of them would fail
// because of the others.
func skippingAll(r *Rotation, errs []error) string {
	var silent, others []string
	for i, err := range errs {
		switch {
		case err == nil || errors.Is(err, errVersion):
		case noAnswer(r, err):
			silent = append(silent, r.Peers[i].Host)
		default:
			others = append(others, r.Peers[i].Host)
		}
	}
	line, named := again(r), others
	if r.SkipUnreachable || len(silent) > 1 {
		line += " --skip-unreachable"
	} else {
		named = slices.Concat(silent, others)
	}
	for _, peer := range named {
		line += " --skip " + peer
	}
	switch {
	case others == nil && len(silent) > 1:
		return "leave all peers behind that do not answer: " + line
	case len(named) == 1 && (r.SkipUnreachable || len(silent) < 2):
		return "leave the peer behind: " + line
	}
	return "leave those peers behind: " + line
}

// skipping is the command that leaves a peer behind or, if there are several like it, all
// of them.
func skipping(r *Rotation, peer string, like int) string {
	if like > 1 {
		return "leave all peers behind that do not answer: " + again(r) + " --skip-unreachable"
	}
	return "leave the peer behind: " + again(r) + " --skip " + peer
}

// again is the command line of the rotation, for a hint that adds to it.
func again(r *Rotation) string {
	return strings.Join(append([]string{r.Commands.Run("rotate", r.Host.Host)}, r.Flags...), " ")
}

// leaveBehind removes peers from the rotation. If none would be left, the network here is
// more likely at fault than all peers, and the host would be cut off from all of them: it
// is refused.
func (s *Survey) leaveBehind(r *Rotation, gone func(i int) bool) error {
	var peers []Participant
	var answers []Answer
	for i, p := range r.Peers {
		if gone(i) {
			r.LeftBehind = append(r.LeftBehind, p.Host)
			continue
		}
		peers, answers = append(peers, p), append(answers, s.peers[i])
	}
	if len(peers) == 0 && len(r.Peers) > 0 {
		return fault.NewHost("no peer is left for the next key of host", r.Host.Host,
			"none answers, and --skip-unreachable would leave all of them behind",
			r.Commands.Run("status")+"; or name those that are to be left behind: "+again(r)+" --skip "+r.Peers[0].Host)
	}
	r.Peers, s.peers = peers, answers
	s.setNames(r)
	return nil
}

func (s *Survey) setNames(r *Rotation) {
	s.names = s.names[:0]
	for _, p := range r.Peers {
		s.names = append(s.names, p.Host)
	}
}

// endLeft ends the watches of an earlier run for the same key, which was lost before it
// could do so: the watchers alone would wait for up to a minute. If the host itself takes
// no part, and no other run is about to begin, it keeps its key. A run claims the host
// before it arms a watch, so if there is no claim, a watch that was armed before this look
// at the host belongs to nobody.
func (r *Rotation) endLeft(ctx context.Context, before, s *Survey) {
	if s.host.Claimed || s.host.Record != nil && !s.host.Record.Over() {
		return
	}
	r.peers(ctx, func(ctx context.Context, i int, p Participant) error {
		was, left := before.of(p.Host).Record, s.peers[i].Record
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

// check refuses a tunnel whose state does not allow the rotation.
func (s *Survey) check(r *Rotation) error {
	if s.Live().IsZero() {
		return fault.NewHost("cannot rotate the key of host", r.Host.Host, "tunnel "+r.Tunnel+" is not up there",
			r.Commands.Run("apply", r.Host.Host))
	}
	var errs []error
	for i, a := range s.peers {
		name := r.Peers[i].Host
		if a.Live.PublicKey.IsZero() {
			errs = append(errs, fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", name,
				"tunnel "+r.Tunnel+" is not up there", r.Commands.Run("apply", name)))
			continue
		}
		if a.Live.PublicKey == s.Live() {
			errs = append(errs, fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", name,
				"it uses that key itself: its disk was copied, or ssh reaches one machine by both names",
				r.Commands.Run("push "+r.Host.Host, name)))
			continue
		}
		if _, ok := s.host.Live.Peers[a.Live.PublicKey]; !ok {
			errs = append(errs, fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", name,
				r.Host.Host+" does not know the key that it uses", r.Commands.Run("apply", r.Host.Host)))
		}
	}
	return errors.Join(errs...)
}

// EnsureSessions makes sure that the host has a session with every peer before anything
// changes: what cannot be proved now could not be proved then.
func (r *Rotation) EnsureSessions(ctx context.Context, s *Survey) error {
	var dead []keyring.PublicKey
	var far []Participant
	for i, a := range s.peers {
		if _, ok := a.Live.Peers[s.Live()]; !ok {
			return fault.NewHost("cannot rotate the key of "+r.Host.Host+" with peer", r.Peers[i].Host,
				"it does not know the key that "+r.Host.Host+" uses", r.Commands.Run("apply", r.Peers[i].Host))
		}
		if !s.alive(a.Live.PublicKey) {
			dead, far = append(dead, a.Live.PublicKey), append(far, r.Peers[i])
		}
	}
	if dead == nil {
		return nil
	}
	r.report("look", "waking %s silent for long", countPeers(len(dead)))
	wake := &Rotation{Tunnel: r.Tunnel, Host: r.Host, Peers: far, Jobs: r.Jobs}
	err := wake.peers(ctx, func(ctx context.Context, _ int, p Participant) error {
		_, err := p.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: p.KeyFile, Peers: []keyring.PublicKey{s.Live()},
			Stay: true})
		return err
	})
	if err == nil {
		s.host, err = r.Host.ask(ctx, Request{Do: DoLook, Tunnel: r.Tunnel, KeyFile: r.Host.KeyFile, Hold: !r.NoHold,
			Peers: dead})
	}
	if err != nil {
		return err
	}
	asleep := slices.DeleteFunc(slices.Clone(dead), s.alive)
	if r.SkipUnreachable {
		return s.leaveBehind(r, func(i int) bool { return slices.Contains(asleep, s.peers[i].Live.PublicKey) })
	}
	var errs []error
	for i, key := range dead {
		if slices.Contains(asleep, key) {
			errs = append(errs, fault.NewHost("will not rotate the key of "+r.Host.Host+": no handshake with peer", far[i].Host,
				"so the next key could not be proved",
				r.Commands.Run("status", far[i].Host)+"; or "+skipping(r, far[i].Host, len(asleep))))
		}
	}
	return errors.Join(errs...)
}

func (s *Survey) alive(peer keyring.PublicKey) bool {
	age, ok := s.host.Age(peer)
	return ok && age < fresh && s.host.Live.Peers[peer].Endpoint != ""
}
