package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// FollowerProcess is the name of the process that looks up the endpoint names of a tunnel's
// peers again, and restores its proxy neighbours and its nftables table: "wgkeys-names TUNNEL",
// see package names.
const FollowerProcess = "wgkeys-names"

// FollowerPath is the file on which it holds a lock. When the file is removed the process
// ends; it is made and removed only while the host is locked for changes.
func FollowerPath(name string) string { return filepath.Join(linux.RunDir, name+".names") }

// LockFollower makes this process the one that follows the names of a tunnel, or fails. The
// lock is one of fcntl(2), which reports its holder; it ends with the process, and when any
// descriptor of the file is closed there.
func LockFollower(name string) (*os.File, error) {
	f, err := os.OpenFile(FollowerPath(name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := files.Own(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// follower returns the process that follows the names of a tunnel, or 0.
func follower(name string) (pid int, err error) {
	f, err := os.OpenFile(FollowerPath(name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return files.Owner(f)
}

// follow starts following the names of the tunnel's peers, its proxy neighbours and its table,
// after a plan was carried out, or stops it: mine is what the journal has then. If the plan is
// known to be empty nothing changes.
func follow(ctx context.Context, plan *apply.Plan, mine journal.Entries) error {
	without := followedFor(plan, mine)
	if without == "" {
		return endFollower(plan.Tunnel)
	}
	if err := startFollower(ctx, plan.Tunnel); err != nil {
		return fault.Wrap(err, without+" before the next apply of tunnel", plan.Tunnel, "wgkeys apply -t "+plan.Tunnel)
	}
	return nil
}

// followedFor says what the tunnel will be without if nobody follows it, or nothing if nobody
// has to.
func followedFor(plan *apply.Plan, mine journal.Entries) (without string) {
	const names = "will not look up names of peers again"
	switch {
	case len(mine) == 0: // a down
	case plan.View == nil:
		if _, err := os.Stat(FollowerPath(plan.Tunnel)); err == nil {
			return names
		}
	case HasNames(plan.View) || followedAfterRevert(plan):
		return names
	case plan.View.Proxies != nil:
		return "will not answer for neighbours once an uplink was down"
	case mine.Has(journal.Filter.Of(plan.Tunnel)):
		return "will not restore its nftables table once that was flushed"
	}
	return ""
}

// HasNames reports whether the endpoint of a peer is a name.
func HasNames(view *tunnel.View) bool {
	return slices.ContainsFunc(view.Peers, func(p tunnel.Peer) bool { return tunnel.IsName(p.Endpoint) })
}

// followedAfterRevert reports whether to follow names though the view of the plan has none:
// an apply that was not confirmed is reverted to a view with the addresses that the names
// led to, and the names are in the view for the next boot.
func followedAfterRevert(plan *apply.Plan) bool {
	if _, err := os.Stat(FollowerPath(plan.Tunnel)); err != nil || plan.View == nil {
		return false
	}
	last, err := kept.View(plan.Tunnel)
	return err == nil && last != nil && HasNames(last)
}

func startFollower(ctx context.Context, name string) error {
	pid, err := follower(name)
	if err != nil || pid != 0 && isThisProgram(pid) {
		return err
	}
	if pid != 0 { // of before an upgrade: this one may keep more
		if err := endFollower(name); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(FollowerPath(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Errno(err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return daemon.Start(ctx, FollowerProcess, name)
}

// isThisProgram reports whether a process runs the program file that this one runs, or cannot
// be asked.
func isThisProgram(pid int) bool {
	other, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	mine, mineErr := os.Stat("/proc/self/exe")
	return err != nil || mineErr != nil || os.SameFile(other, mine)
}

// endFollower ends it now; one that this process cannot see notices by itself that its file
// is gone.
func endFollower(name string) error {
	pid, err := follower(name)
	if err != nil {
		return err
	}
	if pid > 0 {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			// It may have ended, and another process have its number, but not its lock.
			if again, _ := follower(name); again == pid {
				unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0)
			}
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Second/time.Millisecond))
		}
	}
	if err := os.Remove(FollowerPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Errno(err)
	}
	return nil
}
