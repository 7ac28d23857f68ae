package host

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// Two guards see to that: processes "wgkeys-guard TUNNEL N TOKEN", where N is 0 or 1, which
// are started before the first step of the apply with that token. Each holds a lock. After
// the first step, a guard that finds the other one's lock free starts it again, so that
// killing one of them changes nothing. A guard that was started so late does not have the
// previous preshared keys, and leaves the revert to the other one if that has them. A command
// that comes after the time does the same.
//
// The guards end when the file of the pending apply is gone, or is that of another apply,
// which has its own guards. If both were killed, the next command that changes the tunnel
// after the time reverts the apply.

// guardName is the name under which the program runs as a guard.
const guardName = "wgkeys-guard"

// guardProcess guards an apply: TUNNEL NUMBER TOKEN.
var guardProcess = daemon.Process{Name: guardName, Args: 3, Run: runGuard}

// poll is how often a guard checks the pending apply and the other guard.
const poll = 50 * time.Millisecond

// patience is how long a guard waits for the other one to revert, if only that one has the
// previous preshared keys. It may be stopped, or the host may be slow.
const patience = 10 * time.Second

// ending is how long the guards of an earlier apply are waited for.
const ending = 5 * time.Second

func runGuard(args []string) error {
	g, err := newGuard(args[0], args[1], args[2])
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
func startGuards(ctx context.Context, name, token string) error {
	for number := range 2 {
		if err := daemon.Start(ctx, guardName, name, strconv.Itoa(number), token); err != nil {
			return err
		}
	}
	return nil
}

type guard struct {
	name   string
	number int
	token  string   // of the pending apply that it guards
	lock   *os.File // holds the token if this guard has the previous keys
	// the session was opened before the apply: it has the keys that the kernel had then,
	// even if the file has a new one.
	session *session.Session
	late    bool // started after the first step
}

// newGuard returns nil if the apply with the token is no longer pending, or this guard runs
// already.
func newGuard(name, number, token string) (*guard, error) {
	if err := tunnel.CheckName(name); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1 {
		return nil, fmt.Errorf("no guard %q", number)
	}
	g := &guard{name: name, number: n, token: token}
	pending, err := journal.ReadPending(linux.RunDir, name)
	if err == nil && g.over(pending) {
		return nil, nil
	}
	g.late = err != nil || pending.Guarded || pending.Damaged
	if g.lock, err = g.takeLock(); g.lock == nil || err != nil {
		return nil, err
	}
	if g.session, err = session.Look(); err != nil {
		return nil, err
	}
	if err := g.hold(context.Background(), pending); err != nil && !g.late {
		return nil, err
	}
	return g, nil // if it was started late, a guard without the keys is better than none
}

// takeLock takes the lock of this guard, or returns nil if it runs already because the other
// one has started it. Before the first step, a lock that is taken can only be that of a
// guard of an earlier apply, which is about to end.
func (g *guard) takeLock() (*os.File, error) {
	for end := time.Now().Add(ending); ; time.Sleep(poll / 5) {
		lock, err := tryLock(g.name, g.number)
		switch {
		case err != nil || lock == nil && g.late:
			return nil, err
		case lock != nil:
			return lock, lock.Truncate(0)
		case time.Now().After(end):
			return nil, errors.New("that of an earlier apply does not end")
		}
	}
}

// hold keeps the previous keys, and checks that there is a plan to go back. The lock says
// from then on that this guard has them.
func (g *guard) hold(ctx context.Context, pending *journal.Pending) error {
	if pending != nil && pending.Before != nil {
		if err := g.session.Hold(ctx, pending.Before); err != nil {
			return err
		}
		if _, err := g.session.PlanBack(ctx, pending.Before); err != nil {
			return err
		}
	}
	if g.late {
		return nil
	}
	_, err := g.lock.WriteAt([]byte(g.token), 0)
	return err
}

// watch returns when the pending apply was confirmed or reverted.
func (g *guard) watch() {
	for ; ; time.Sleep(poll) {
		pending, err := journal.ReadPending(linux.RunDir, g.name)
		if err == nil && g.over(pending) {
			return
		}
		if err == nil && g.due(pending) {
			err = g.revert()
		}
		if err != nil || pending.Guarded || pending.Damaged { // otherwise the other one is about to be started
			g.raise(1 - g.number)
		}
	}
}

// over reports whether the apply that this guard is for is not pending any more.
func (g *guard) over(pending *journal.Pending) bool {
	return pending == nil || pending.Token != g.token && !pending.Damaged
}

// due reports whether this guard has to revert now.
func (g *guard) due(pending *journal.Pending) bool {
	if g.late && hasKeys(g.name, 1-g.number, g.token) {
		return pending.Left() <= -patience
	}
	return pending.Left() <= 0
}

// hasKeys reports whether a guard of the apply with a token is alive and has the previous
// preshared keys.
func hasKeys(name string, number int, token string) bool {
	lock, err := os.Open(lockPath(name, number))
	if err != nil {
		return false
	}
	defer lock.Close()
	its, err := io.ReadAll(lock)
	return err == nil && string(its) == token && files.IsLocked(lock)
}

// leaveToGuards has the guards revert an apply whose time has come, where one of them has the
// previous preshared keys and this command would go back without them. They may be slow, or
// have come second to the lock of the host, which they get meanwhile.
func leaveToGuards(ctx context.Context, s *session.Session, name string) error {
	pending, err := journal.ReadPending(linux.RunDir, name)
	if err != nil || pending == nil || pending.Left() > 0 {
		return err
	}
	theirs := func() bool {
		now, err := journal.ReadPending(linux.RunDir, name)
		return err == nil && now != nil && now.Token == pending.Token &&
			(hasKeys(name, 0, pending.Token) || hasKeys(name, 1, pending.Token))
	}
	if !theirs() {
		return nil
	}
	return s.Yield(ctx, func() {
		for end := time.Now().Add(patience); theirs() && time.Now().Before(end) && ctx.Err() == nil; {
			time.Sleep(poll / 5)
		}
	})
}

// revert goes back once it has the lock of the host, and checks again: the other guard or a
// confirmation may have come first, or the apply have begun its time to be confirmed. Where
// another process has the lock it does nothing yet, and is called again while this apply is
// pending: that process may be the next apply, which waits for this guard to end.
func (g *guard) revert() error {
	ctx := context.Background()
	soon, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	unlock, err := journal.Lock(soon, linux.RunDir, func(int) {})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	pending, err := journal.ReadPending(linux.RunDir, g.name)
	if err != nil || g.over(pending) || !g.due(pending) {
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
	daemon.Start(context.Background(), guardName, g.name, strconv.Itoa(number), g.token)
}

// tryLock returns the lock of a guard, or nil if that guard is alive. The lock file is
// never removed, since that would break the lock.
func tryLock(name string, number int) (*os.File, error) {
	f, err := os.OpenFile(lockPath(name, number), os.O_RDWR|os.O_CREATE, 0o600)
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

func lockPath(name string, number int) string {
	return filepath.Join(linux.RunDir, fmt.Sprintf("%s.guard%d", name, number))
}
