package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/files"
)

// An apply that is not confirmed in time is reverted, whatever happens to the ssh
// connection, to the controller and to the apply itself.
//
// A guard is a pair of processes, "wgkeys-guard TUNNEL N", started before the first step.
// Each holds a lock of its own. After the first step each of them starts the other one
// again when it finds that one's lock free; a guard that was started that late does not
// have the previous preshared keys, and leaves the revert to the other one for a while. So
// killing one of them changes nothing. They end when the file of the pending apply is gone.
// If both are gone when the time has come, the next command that changes the tunnel reverts
// the apply.

// guardName is the name under which the program runs as a guard.
const guardName = "wgkeys-guard"

// guardProcess guards an apply: TUNNEL NUMBER.
var guardProcess = daemon.Process{Name: guardName, Args: 2, Run: runGuard}

// poll is how often a guard checks the pending apply and the other guard.
const poll = 50 * time.Millisecond

// grace is how long a guard that was started after the first step waits for the earlier
// one, which has the preshared keys to go back to.
const grace = 2 * time.Second

func runGuard(args []string) error {
	g, err := newGuard(args[0], args[1])
	if err != nil {
		return err
	}
	if err := daemon.Detach(); err != nil {
		return err
	}
	if g != nil {
		g.watch()
	}
	return nil
}

// startGuards starts both guards of a tunnel, after its pending apply was written.
func startGuards(ctx context.Context, name string) error {
	for number := range 2 {
		if err := daemon.Start(ctx, guardName, name, strconv.Itoa(number)); err != nil {
			return err
		}
	}
	return nil
}

type guard struct {
	name   string
	number int
	lock   *os.File
	// the session was opened before the apply: it has the keys that the kernel had then,
	// even if the file has a new one.
	session *session.Session
	late    bool // started after the first step
}

func newGuard(name, number string) (*guard, error) {
	if err := tunnel.CheckName(name); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1 {
		return nil, fmt.Errorf("no guard %q", number)
	}
	g := &guard{name: name, number: n}
	if g.lock, err = tryLock(name, n); err != nil {
		return nil, err
	}
	if g.lock == nil {
		return nil, nil // it runs already: the other one has started it
	}
	if g.session, err = session.Look(); err != nil {
		return nil, err
	}
	pending, err := journal.ReadPending(linux.RunDir, name)
	g.late = err != nil || pending == nil || pending.Guarded || pending.Damaged
	if err == nil && pending != nil && pending.Before != nil {
		err = g.hold(context.Background(), pending.Before)
	}
	return g, err
}

// hold keeps the previous keys, and checks that there is a plan to go back.
func (g *guard) hold(ctx context.Context, before *tunnel.View) error {
	if err := g.session.Hold(ctx, before); err != nil {
		return err
	}
	_, err := g.session.PlanBack(ctx, before)
	return err
}

// watch returns when the pending apply was confirmed or has to be reverted.
func (g *guard) watch() {
	for ; ; time.Sleep(poll) {
		pending, err := journal.ReadPending(linux.RunDir, g.name)
		if err == nil && pending == nil {
			return
		}
		if err == nil && g.due(pending) && g.revert() == nil {
			return
		}
		if err != nil || pending.Guarded || pending.Damaged { // otherwise the other one is about to be started
			g.raise(1 - g.number)
		}
	}
}

// due reports whether this guard has to revert now. The file of a pending apply that is
// damaged has no deadline: it is due at once, also for a guard that was started late.
func (g *guard) due(pending *journal.Pending) bool {
	if g.late && !pending.Damaged {
		return pending.Left() <= -grace
	}
	return pending.Left() <= 0
}

// revert waits for an apply that is still running, and checks again: the other guard or a
// confirmation may have come first.
func (g *guard) revert() error {
	ctx := context.Background()
	unlock, err := journal.Lock(ctx, linux.RunDir, func(int) {})
	if err != nil {
		return err
	}
	defer unlock()
	pending, err := journal.ReadPending(linux.RunDir, g.name)
	if err != nil || pending == nil || pending.Left() > 0 {
		return err
	}
	return g.session.Revert(ctx, g.name, pending)
}

// raise starts the other guard if it is gone.
func (g *guard) raise(number int) {
	lock, err := tryLock(g.name, number)
	if err != nil || lock == nil {
		return
	}
	lock.Close()
	daemon.Start(context.Background(), guardName, g.name, strconv.Itoa(number))
}

// tryLock returns the lock of a guard, or nil if that guard is alive. The lock file is
// never removed, since that would break the lock.
func tryLock(name string, number int) (*os.File, error) {
	path := filepath.Join(linux.RunDir, fmt.Sprintf("%s.guard%d", name, number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := files.TryLock(f); err != nil {
		f.Close()
		if errors.Is(err, files.ErrLocked) {
			return nil, nil
		}
		return nil, err
	}
	return f, nil
}
