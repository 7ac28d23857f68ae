// Package former is about the program that had a tunnel before wgkeys: wg-quick,
// systemd-networkd, NetworkManager or ifupdown. It finds it, has it let go of the
// interface without a change to that, and gives it back.
//
// What it lets go is put aside, below /etc/wgkeys/taken/TUNNEL, and a record says what was
// done. It is written before each act, so that what was interrupted can be given back.
package former

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/services"
	"wgkeys/keyring/fault"
)

// The programs, as they are told.
const (
	wgQuick        = "wg-quick"
	ifupdown       = "ifupdown"
	networkd       = apply.Networkd
	networkManager = apply.NetworkManager
)

// A Manager is the program that has an interface.
type Manager struct {
	Name  string
	Link  string
	Files []string // that say how the interface is to be, whole ones or parts of them
}

// Find returns who has the interface, or nil where it is nobody that is known. What a
// program says of itself counts before what files say.
func Find(ctx context.Context, link string) (*Manager, error) {
	for _, find := range []func(context.Context, string) (*Manager, error){
		findNetworkManager, findNetworkd, findIfupdown, findWgQuick, findProfiles,
	} {
		if m, err := find(ctx, link); m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

// String is the program and its files, as a person is told.
func (m *Manager) String() string { return m.Name + " (" + strings.Join(m.Files, ", ") + ")" }

// Runs reports whether a program runs all the time, and may take away what it set up.
func Runs(manager string) bool { return manager == networkd || manager == networkManager }

// LetGo puts aside what brought the interface up, which stays as it is. A program that
// [Runs] has been told before to leave it alone. The record has what is needed for the way
// back, also with an error.
func (m *Manager) LetGo(ctx context.Context, r *Record) error {
	r.Manager, r.Link = m.Name, m.Link
	if err := r.Save(); err != nil {
		return err
	}
	switch m.Name {
	case ifupdown:
		return m.leaveIfupdown(r)
	case wgQuick:
		return m.leaveWgQuick(ctx, r)
	}
	if err := r.moveAside(m.Files...); err != nil {
		return err
	}
	return readAgain(ctx, m.Name)
}

// readAgain has a program that runs look at its files. What it leaves alone by now stays
// as it is when its files are gone.
func readAgain(ctx context.Context, manager string) (err error) {
	switch manager {
	case networkManager:
		_, err = run(ctx, "", "nmcli", "connection", "reload")
	case networkd:
		_, err = run(ctx, "", "networkctl", "reload")
	}
	return err
}

// Return gives the files back to the program, and what it had beside the interface, if that
// is up.
func (r *Record) Return(ctx context.Context, up bool) error {
	if err := errors.Join(r.putBackEdits(), r.moveBack()); err != nil {
		return err
	}
	// Those of wgkeys install. Which name networkd's has depends on others.
	for _, file := range []string{
		apply.ManagerFile(r.Link, networkManager), apply.ManagerFile(r.Link, networkd), apply.FirstFile(r.Link),
	} {
		file = "/etc" + strings.TrimPrefix(file, "/run")
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.WrapFile(fault.Errno(err), "cannot remove", file, fault.AsRoot)
		}
	}
	if r.Manager == wgQuick {
		return r.backToWgQuick(ctx, up)
	}
	return readAgain(ctx, r.Manager)
}

// resumes is how long a program may take to have the interface again.
const resumes = 15 * time.Second

// Resumes reports whether a program takes the interface again by itself, as it is, once
// nothing keeps it from that any more. NetworkManager does so at its next start: told to
// take it now it removes the routes first (seen with 1.58.1).
func Resumes(manager string) bool { return manager == networkd }

// Resume waits until a program that [Resumes] has the interface again.
func (r *Record) Resume(ctx context.Context) error {
	if !Resumes(r.Manager) || !services.Running(ctx, r.Manager) {
		return nil
	}
	for end := time.Now().Add(resumes); time.Now().Before(end); {
		state := services.Taken(ctx, r.Link, r.Manager)
		if strings.HasPrefix(state, "configured") {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fault.New("nobody takes the interface", r.Link, r.Manager+" does not, though it may",
		"systemctl status "+r.Manager)
}
