package participant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/hold"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/revoked"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
)

// maxRequest bounds a request, in bytes.
const maxRequest = 4 << 20

// A Server answers controllers.
type Server struct {
	Version string // version of this program
	// Plan returns what apply would do with a view; may be nil. This package cannot do it:
	// the planner asks it whether a rotation is under way.
	Plan func(ctx context.Context, view []byte) *rotate.Planned
}

// Serve answers the request in in and, if the controller asks it to stay, those that come
// after it.
func (s Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	bounded := &io.LimitedReader{R: in}
	d := json.NewDecoder(bounded)
	for first := true; ; first = false {
		bounded.N = maxRequest
		var q rotate.Request
		if err := d.Decode(&q); err != nil {
			if !first { // the controller is gone, or has no more requests
				return nil
			}
			err = fault.Wrap(err, "cannot read the request of the controller", "", "")
			return json.NewEncoder(out).Encode(s.refuse(err, rotate.Protocol))
		}
		if err := json.NewEncoder(out).Encode(s.answerAll(ctx, q)); err != nil || !q.Stay {
			return err
		}
	}
}

// answerAll answers a request and the ones inside it.
func (s Server) answerAll(ctx context.Context, q rotate.Request) rotate.Answer {
	answer := s.answer(ctx, q)
	answer.Stays = q.Stay
	for _, also := range q.Also {
		also.Protocol = q.Protocol
		if also.Do != rotate.DoLook {
			err := fault.New("will not do along with another request", also.Do, "only a look changes nothing", "")
			answer.Also = append(answer.Also, s.refuse(err, q.Protocol))
			continue
		}
		answer.Also = append(answer.Also, s.answer(ctx, also))
	}
	return answer
}

// answer answers one request.
func (s Server) answer(ctx context.Context, q rotate.Request) rotate.Answer {
	answer := rotate.Answer{Protocol: rotate.Protocol, Version: s.Version}
	if !q.Understood() { // the controller reports that, since it sees our version
		return answer
	}
	answer.Protocol = q.Protocol
	if err := serve(ctx, q, &answer); err != nil {
		return s.refuse(named(err, q.Tunnel), q.Protocol)
	}
	if q.View != nil && s.Plan != nil && answer.Settled() {
		answer.Planned = s.Plan(ctx, q.View)
	}
	return answer
}

// named names the tunnel whose interface went while it was worked on: the error itself is
// that of a missing file.
func named(err error, tunnel string) error {
	if plain := new(fault.Fault); errors.As(err, &plain) || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.New("cannot work on tunnel", tunnel, "its interface is gone", "wgkeys apply -t "+tunnel)
}

func (s Server) refuse(err error, protocol int) rotate.Answer {
	answer := rotate.Refuse(err)
	answer.Protocol, answer.Version = protocol, s.Version
	return answer
}

func serve(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	if err := checkNames(q); err != nil {
		return err
	}
	if err := checkKeys(q); err != nil {
		return err
	}
	switch q.Do {
	case rotate.DoLook:
		return look(q, a)
	case rotate.DoClaim:
		return claimed(ctx, q, a)
	case rotate.DoMake:
		return makeKey(ctx, q, a)
	case rotate.DoWatch:
		return watch(ctx, q, a)
	case rotate.DoSwitch:
		return switchKey(ctx, q, a)
	case rotate.DoOutcome:
		return outcome(q, a)
	case rotate.DoEnd:
		return end(ctx, q)
	case rotate.DoReplace:
		return replacePeer(ctx, q, a)
	case rotate.DoRefuse:
		return refuse(ctx, q)
	case rotate.DoPromote:
		return promote(q)
	case rotate.DoPSK:
		return sharePSK(ctx, q, a)
	}
	return fault.New("no such request", q.Do, "this wgkeys is another version than the controller's",
		"install the same wgkeys on all hosts")
}

// checkNames refuses a name that would lead to another file than a tunnel's.
func checkNames(q rotate.Request) error {
	if err := tunnel.CheckName(q.Tunnel); err != nil {
		return fault.Wrap(err, "no tunnel can be named", q.Tunnel, "")
	}
	if q.KeyFile == "" {
		return nil
	}
	if err := keyring.CheckFile(q.KeyFile); err != nil {
		return fault.WrapFile(err, "no key file can be named", q.KeyFile, "")
	}
	return nil
}

// outcome returns how the last rotation ended, if it was one to the next key.
func outcome(q rotate.Request, a *rotate.Answer) (err error) {
	a.Record, err = readRecord(q.Tunnel)
	if a.Record != nil && a.Record.Next != q.Next {
		a.Record = nil
	}
	return err
}

// checkKeys refuses zero keys, and two equal ones, which the kernel would accept.
func checkKeys(q rotate.Request) error {
	switch q.Do {
	case rotate.DoWatch, rotate.DoSwitch, rotate.DoReplace:
		if err := neverAgain(q); err != nil {
			return err
		}
		if q.Old.IsZero() || q.Next.IsZero() || q.Old == q.Next {
			return fault.New("cannot replace a key of tunnel", q.Tunnel, "the controller named no two keys", "wgkeys check")
		}
	}
	return nil
}

// neverAgain refuses to change to a key that was replaced before.
func neverAgain(q rotate.Request) error {
	list, err := revoked.Read()
	if err != nil {
		return err
	}
	if _, replaced := list.By(q.Next); replaced || list.Stolen(q.Next) {
		return fault.NewHost("will not go back to a replaced key of host", q.Host, "it is "+q.Next.String(),
			"git pull, then wgkeys rotate "+q.Host)
	}
	return nil
}

// look returns the state of the tunnel. If peers are named, it first makes sure that they
// have a session.
func look(q rotate.Request, a *rotate.Answer) error {
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	a.File, a.NextFile = fileKey(q.KeyFile), fileKey(d.nextFile())
	if a.Record, err = readRecord(q.Tunnel); err != nil {
		return err
	}
	if a.Record != nil && !a.Record.Over() && !running(q.Tunnel) {
		a.Record = nil // all of its processes are gone
	}
	a.Claimed = unclaimed(q) != nil
	if a.Live, err = d.Look(); errors.Is(err, fs.ErrNotExist) {
		a.Live.Gone = session.WhyGone(q.Tunnel)
		return nil // not up
	}
	if err == nil && q.Peers != nil {
		if err = d.wake(q.Peers, 6*time.Second); err == nil {
			a.Live, err = d.Look()
		}
	}
	if q.Hold && (a.Record == nil || a.Record.Over()) {
		err := hold.Try(q.Tunnel)
		if a.CanHold = err == nil; err != nil {
			a.HoldWhy = err.Error()
		}
	}
	a.Clock, a.Proves = time.Now(), true
	return err
}

func fileKey(path string) rotate.FileKey {
	if path == "" {
		return rotate.FileKey{}
	}
	key, err := wg.ReadPrivateKey(path, "")
	if err != nil {
		return rotate.FileKey{Why: err.Error()}
	}
	k := rotate.FileKey{PublicKey: key.PublicKey()}
	if info, err := os.Stat(path); err == nil {
		k.Changed = info.ModTime()
	}
	return k
}

// alone refuses while another rotation is under way, or an apply waits to be confirmed. A
// watch that an earlier attempt at this one has left, and that still waits, is ended first.
// Until unlock nobody else begins: of two that come at the same time, one would get the
// other's record.
func alone(ctx context.Context, q rotate.Request) (unlock func(), err error) {
	if r, err := readRecord(q.Tunnel); err == nil && r != nil && r.Next == q.Next && !r.Switch &&
		r.Phase == rotate.Armed && running(q.Tunnel) {
		if err := endWatch(ctx, q, r, 15*time.Second); err != nil {
			return nil, err
		}
	}
	if unlock, err = journal.Lock(ctx, linux.RunDir, func(int) {}); err != nil {
		return nil, err
	}
	err = free(q.Tunnel)
	if err == nil && !q.Now { // a stolen key does not wait
		_, err = kept.View(q.Tunnel) // it is to get the next key
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func free(name string) error {
	p, err := journal.ReadPending(linux.RunDir, name)
	if err != nil {
		return err
	}
	if p != nil {
		return fault.New("an apply waits to be confirmed on tunnel", name,
			fmt.Sprintf("it may be somebody else's, and is reverted in %d s if nobody does", max(0, int(p.Left().Seconds()))+1),
			"wgkeys confirm -t "+name)
	}
	if err := UnderWay(name); err != nil {
		return err
	}
	if err := os.Remove(endPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.WrapFile(fault.Errno(err), "cannot remove", endPath(name), "")
	}
	return nil
}

func watch(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	unlock, err := alone(ctx, q)
	if err != nil {
		return err
	}
	defer unlock()
	now := journal.Uptime()
	r := &rotate.Record{Tunnel: q.Tunnel, Host: q.Host, Old: q.Old, Next: q.Next, Run: q.Run, KeyFile: q.KeyFile,
		Phase: rotate.Armed, Since: now, Deadline: now + q.Within, Hold: q.Hold, Prove: q.Prove}
	p, err := open(r)
	if err != nil {
		return err
	}
	defer p.close()
	t, save := TestOnlySteps(r, p, writeRecord)
	live, err := t.Look()
	a.Live = live
	// a watcher that had followed was killed; staging would lose that
	if err == nil && live.Peers[q.Next].AllowedIPs > 0 {
		err = t.Follow(q.Next, q.Old)
	}
	if err == nil {
		err = t.Stage(q.Old, q.Next)
	}
	if err != nil {
		return err
	}
	if err := start(ctx, r, save); err != nil {
		return errors.Join(err, t.Drop(q.Next))
	}
	return nil
}

func switchKey(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	if err := startSwitch(ctx, q); err != nil || q.Now {
		return err
	}
	if err := wait(ctx, q.Tunnel, time.Minute, (*rotate.Record).Over); err != nil {
		return err
	}
	var err error
	a.Record, err = readRecord(q.Tunnel)
	return err
}

// startSwitch refuses, before anything changes, a host without both keys: it could not go
// back.
func startSwitch(ctx context.Context, q rotate.Request) error {
	unlock, err := alone(ctx, q)
	if err != nil {
		return err
	}
	defer unlock()
	until := journal.Uptime() + q.Within
	if !q.Now { // a stolen key does not wait
		if until, err = mine(q); err != nil {
			return err
		}
	}
	// A rename would replace a link and leave the old key in its target.
	if info, err := os.Lstat(q.KeyFile); err == nil && !info.Mode().IsRegular() {
		return fault.NewFile("cannot replace key file", q.KeyFile, "it is no regular file",
			"make it one, or name another private_key_file")
	}
	if next := rotate.NextFile(q.Tunnel, q.KeyFile); fileKey(next).PublicKey != q.Next {
		return fault.NewFile("the next key is not in", next, fileKey(next).Why, "wgkeys rotate "+q.Host)
	}
	if !q.Now && fileKey(q.KeyFile).PublicKey != q.Old {
		return fault.NewFile("another key than the one in use is in", q.KeyFile, fileKey(q.KeyFile).Why,
			"wgkeys push "+q.Host)
	}
	r := &rotate.Record{Tunnel: q.Tunnel, Host: q.Host, Old: q.Old, Next: q.Next, KeyFile: q.KeyFile, Phase: rotate.Armed,
		Since: journal.Uptime(), Deadline: until, Hold: q.Hold, Switch: true, Now: q.Now, Prove: q.Prove,
		Before: make(map[keyring.PublicKey]time.Time, len(q.Peers))}
	for _, key := range q.Peers {
		r.Before[key] = time.Time{}
	}
	_, save := TestOnlySteps(r, nil, writeRecord)
	if err := start(ctx, r, save); err != nil {
		return err
	}
	if q.Within = 0; q.Run != "" {
		return take(q) // released: from here on the record keeps others away
	}
	return nil
}

func promote(q rotate.Request) error {
	if err := UnderWay(q.Tunnel); err != nil {
		return err
	}
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	return d.promote(q.Next)
}
