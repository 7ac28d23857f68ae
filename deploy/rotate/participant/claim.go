package participant

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/rotate"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/files"
)

// A claim says which controller has this host to itself, and until when by the clock of the
// host. It is in a file that stays, and that is locked while it is used.
type claim struct {
	Run   string        `json:"run"`
	Since time.Duration `json:"since"` // before the run has armed any peer
	Until time.Duration `json:"until"`
}

func claimPath(name string) string { return filepath.Join(linux.RunDir, name+".turn.claim") }

// claimed claims the host, and returns which key it uses: what was known before the claim
// may be outdated. It is not released before a switch that is about to begin has done so:
// then the switch has it.
func claimed(ctx context.Context, q rotate.Request, a *rotate.Answer) error {
	err := UnderWay(q.Tunnel)
	if q.Within == 0 {
		err = giveBack(ctx, q)
	} else if err == nil {
		if _, err = kept.View(q.Tunnel); err == nil { // it is to get the next key
			err = take(q)
		}
	}
	if err != nil {
		return err
	}
	d, err := openDevice(q.Tunnel, q.KeyFile)
	if err != nil {
		return err
	}
	defer d.close()
	if a.Live, err = d.Look(); errors.Is(err, fs.ErrNotExist) {
		return nil // not up
	}
	return err
}

func giveBack(ctx context.Context, q rotate.Request) error {
	unlock, err := noSwitch(ctx, q.Tunnel)
	if err != nil {
		return err
	}
	defer unlock()
	return take(q)
}

// noSwitch refuses while the key of this host is being replaced, and prevents that from
// beginning until unlock. A rotation of its peers does not matter.
func noSwitch(ctx context.Context, name string) (unlock func(), err error) {
	if unlock, err = journal.Lock(ctx, linux.RunDir, func(int) {}); err != nil {
		return nil, err
	}
	if r, err := readRecord(name); err == nil && r != nil && r.Switch {
		if err := UnderWay(name); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// take claims the host for the run of q, or releases it if that is for no time. A claim of
// another run is refused.
func take(q rotate.Request) error {
	if q.Run == "" || q.Within < 0 || q.Within > time.Hour {
		return fault.New("cannot claim tunnel", q.Tunnel, "the controller names no run, or no valid time",
			"install the same wgkeys on all hosts")
	}
	if err := os.MkdirAll(linux.RunDir, 0o755); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot make the folder", linux.RunDir, "")
	}
	f, err := openClaim(q.Tunnel, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", claimPath(q.Tunnel), "")
	}
	defer f.Close()
	if err := f.refuse(q); err != nil {
		return err
	}
	now := journal.Uptime()
	switch {
	case f.Run == q.Run && q.Within > 0 && f.Until <= now: // it stood still meanwhile
		return tooLate(q)
	case f.Run != q.Run && q.Within == 0:
		return nil // this run does not have it
	case f.Run != q.Run:
		f.Since = now
	}
	f.Run, f.Until = q.Run, now+q.Within
	if err := f.write(); err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", claimPath(q.Tunnel), "")
	}
	return nil
}

func (f *claimFile) write() error {
	text, err := json.Marshal(f.claim)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	return err
}

// unclaimed refuses if another run than that of q has claimed the host.
func unclaimed(q rotate.Request) error {
	f, err := openClaim(q.Tunnel, os.O_RDWR)
	if err != nil {
		return nil // nobody has
	}
	defer f.Close()
	return f.refuse(q)
}

// mine refuses if the run of q has not claimed the host, or its claim has expired: another
// run may have ended its watchers since. It returns until when all watchers of the run wait.
func mine(q rotate.Request) (until time.Duration, err error) {
	f, err := openClaim(q.Tunnel, os.O_RDWR)
	if err != nil {
		return 0, tooLate(q)
	}
	defer f.Close()
	if until = f.Until; q.Within > 0 { // else from an older controller
		until = f.Since + q.Within
	}
	if now := journal.Uptime(); f.Run != q.Run || f.Until <= now || until <= now {
		return 0, tooLate(q)
	}
	return until, nil
}

func tooLate(q rotate.Request) error {
	return fault.New("the peers may no longer be ready for a new key of tunnel", q.Tunnel,
		"it took too long to reach all of them; nothing was changed",
		"wgkeys rotate "+q.Host)
}

// A claimFile is a claim while it is locked.
type claimFile struct {
	*os.File
	claim
}

// openClaim waits for the lock, which is never held for long. A text that cannot be parsed
// is from another version, and no claim.
func openClaim(name string, flags int) (*claimFile, error) {
	f, err := os.OpenFile(claimPath(name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := files.WaitLock(f); err != nil {
		f.Close()
		return nil, err
	}
	c := &claimFile{File: f}
	if err := json.NewDecoder(f).Decode(&c.claim); err != nil {
		c.claim = claim{}
	}
	return c, nil
}

func (f *claimFile) refuse(q rotate.Request) error {
	if f.Run == q.Run || f.Until <= journal.Uptime() {
		return nil
	}
	return fault.New("another wgkeys rotate is at work on tunnel", q.Tunnel, "nothing was changed by this one",
		"try again in half a minute")
}
