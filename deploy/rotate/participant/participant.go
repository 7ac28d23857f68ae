// Package participant implements a host's role in a rotation on the kernel: the switch, if
// the host's own key is rotated, or the watcher, if a peer's is. Package rotate describes
// the roles.
//
// A role is run by two processes, "wgkeys-turn TUNNEL", which outlive the command that
// starts them. The first one to get the lock runs it; the other one waits for the lock. If
// the first is killed, the second continues from the record, a file with the state of the
// role, and starts another second process.
//
// The record is /run/wgkeys/TUNNEL.turn and stays until the next rotation. Nothing is known
// from it alone: without it the state of a host is read from its kernel and its key files.
// A claim, TUNNEL.turn.claim beside it, says which controller has the host to itself until
// its switch begins.
package participant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/hold"
	"wgkeys/deploy/apply/linux/wg"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/revoked"
	"wgkeys/deploy/rotate"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// process is the name under which the program runs a role.
const process = "wgkeys-turn"

// Process runs a role: TUNNEL. Every program that may call [Serve] passes it to
// [daemon.Main].
var Process = daemon.Process{Name: process, Args: 1, Run: run}

func run(args []string) error {
	name := args[0]
	if err := tunnel.CheckName(name); err != nil {
		return err
	}
	record, err := readRecord(name)
	if err == nil && record == nil {
		err = errors.New("there is nothing to do")
	}
	if err != nil {
		return err
	}
	p, err := open(record)
	if err != nil {
		return err
	}
	if err := daemon.Detach(); err != nil {
		return err
	}
	return p.run(context.Background())
}

// start starts both processes and waits until one of them runs the role. If none does in time
// none will: by the time that one is there the host may be another command's.
func start(ctx context.Context, r *rotate.Record, save func(*rotate.Record) error) error {
	if err := save(r); err != nil {
		return err
	}
	err := startBoth(ctx, r.Tunnel)
	if err == nil {
		err = wait(ctx, r.Tunnel, 10*time.Second, func(r *rotate.Record) bool { return r.Ready })
	}
	if err != nil {
		return errors.Join(err, retire(r, save))
	}
	return nil
}

func startBoth(ctx context.Context, name string) error {
	for range 2 {
		if err := daemon.Start(ctx, process, name); err != nil {
			return err
		}
	}
	return nil
}

// retire ends a role that no process runs: those that come late find it over.
func retire(r *rotate.Record, save func(*rotate.Record) error) error {
	lock, err := os.OpenFile(lockPath(r.Tunnel), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := files.TryLock(lock); err != nil {
		return nil // one does
	}
	r.GiveUp(journal.Uptime())
	return save(r)
}

// wait reads the record until it is as wanted.
func wait(ctx context.Context, name string, atMost time.Duration, ok func(*rotate.Record) bool) error {
	for end := time.Now().Add(atMost); ; {
		r, err := readRecord(name)
		if err != nil {
			return err
		}
		if r != nil && ok(r) {
			return nil
		}
		if time.Now().After(end) {
			return fault.New("the rotation stands still on tunnel", name, "see "+recordPath(name), "wgkeys status -t "+name)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// A role is one process's part in a rotation.
type role struct {
	*device
	record *rotate.Record
}

func open(r *rotate.Record) (*role, error) {
	d, err := openDevice(r.Tunnel, r.KeyFile)
	if err != nil {
		return nil, err
	}
	return &role{d, r}, nil
}

// Rekey implements [rotate.Tunnel]: it writes the new key to the journal and the view for
// the next boot.
func (p *role) Rekey(old, next keyring.PublicKey) error {
	return kept.RekeyPeer(context.Background(), p.record.Tunnel, old, next)
}

// Promote implements [rotate.Tunnel]: if the key was stolen the host records that it must
// not be used again.
func (p *role) Promote(next keyring.PublicKey) error {
	if p.record.Now {
		if err := revoked.Add(p.record.Old, keyring.PublicKey{}); err != nil {
			return err
		}
	}
	return p.device.promote(next)
}

// run waits for the lock and runs the role to its end.
func (p *role) run(ctx context.Context) error {
	defer p.close()
	lock, err := os.OpenFile(lockPath(p.record.Tunnel), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := files.WaitLock(lock); err != nil {
		return err
	}
	r, err := readRecord(p.record.Tunnel)
	if err != nil || r == nil || r.Over() || r.Next != p.record.Next {
		return err
	}
	if r.Ready { // the process that had it is gone
		daemon.Start(ctx, process, r.Tunnel) // better alone than not at all
	}
	daemon.Hurry(urgency(p.record))
	p.record, r.Ready = r, true
	if r.Hold {
		hold.Sweep(r.Tunnel)
		p.hold, _ = hold.New(r.Tunnel) // better without than not at all
	}
	t, save := TestOnlySteps(r, p, writeRecord)
	if err := save(r); err != nil {
		return err
	}
	if r.Switch {
		s := &rotate.Switch{Tunnel: t, Record: r, Save: save, Clock: journal.Uptime}
		return s.Run(ctx)
	}
	w := &rotate.Watcher{Tunnel: t, Record: r, Save: save, Clock: journal.Uptime, Ended: ended}
	if i, err := wg.WatchInitiations(); err == nil { // otherwise it looks all the time
		defer i.Close()
		w.Begun = i.C
	}
	return w.Run(ctx)
}

// urgency is the niceness of a role: that of a userspace device, which answers it, and for
// the switch, for which all peers wait, a higher priority.
func urgency(r *rotate.Record) int {
	if r.Switch {
		return -15
	}
	return -10
}

// UnderWay is the error of a command that would disturb a rotation on this host, or nil.
func UnderWay(name string) error {
	r, err := readRecord(name)
	if err != nil || r == nil || r.Over() || !running(name) {
		return nil
	}
	return fault.New("a rotation is under way on tunnel", name, "the key of host "+r.Host+" is being replaced",
		"try again in half a minute")
}

// Forget removes what rotations have left in /run/wgkeys, and what a killed process has
// left of its hold.
func Forget(name string) error {
	hold.Sweep(name)
	var errs []error
	for _, path := range []string{recordPath(name), endPath(name), claimPath(name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fault.WrapFile(fault.Errno(err), "cannot remove", path, ""))
		}
	}
	return errors.Join(errs...)
}

// running reports whether a process runs the role of the record.
func running(name string) bool {
	lock, err := os.OpenFile(lockPath(name), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer lock.Close()
	return files.IsLocked(lock)
}

func recordPath(name string) string { return filepath.Join(linux.RunDir, name+".turn") }
func lockPath(name string) string   { return filepath.Join(linux.RunDir, name+".turn.lock") }
func endPath(name string) string    { return filepath.Join(linux.RunDir, name+".turn.end") }

// readRecord returns the record of a tunnel, or nil if there is none.
func readRecord(name string) (*rotate.Record, error) {
	text, err := os.ReadFile(recordPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.WrapFile(fault.Errno(err), "cannot read", recordPath(name), "")
	}
	var r rotate.Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, nil // of another version: ignored
	}
	return &r, nil
}

// writeRecord replaces the record. It is not synced: after a power failure no rotation
// could continue.
func writeRecord(r *rotate.Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replace(recordPath(r.Tunnel), text)
}

func replace(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", filepath.Dir(path), "")
	}
	err := files.Replace(path, bytes.NewReader(text), files.Replacement{Mode: 0o600, Unsynced: true})
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", path, "")
	}
	return nil
}

// ended reports whether the controller wants the watch to end.
func ended(r *rotate.Record) bool {
	text, err := os.ReadFile(endPath(r.Tunnel))
	return err == nil && string(text) == r.Next.String()
}
