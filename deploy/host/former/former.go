// Package former deals with the program that had a tunnel before wgkeys: wg-quick,
// systemd-networkd, NetworkManager or ifupdown. It finds the program, makes it release the
// interface unchanged, and gives the interface back.
//
// Files of the program are moved to /etc/wgkeys/taken/TUNNEL, and a record says what was
// done. It is written before each action, so that an interrupted take-over can be undone.
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

// The programs, by name.
const (
	wgQuick        = "wg-quick"
	ifupdown       = "ifupdown"
	networkd       = apply.Networkd
	networkManager = apply.NetworkManager
)

// A Manager is the program that manages an interface.
type Manager struct {
	Name  string
	Link  string
	Files []string // that configure the interface, completely or in part
}

// Find returns the program that manages the interface, or nil if none is known. What a
// program itself reports counts more than its files.
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

// String describes the program and its files for the user.
func (m *Manager) String() string {
	if len(m.Files) == 0 {
		return m.Name + " (a profile that netplan made)"
	}
	return m.Name + " (" + strings.Join(m.Files, ", ") + ")"
}

// Runs reports whether a program runs all the time, and may remove what it has set up.
func Runs(manager string) bool { return manager == networkd || manager == networkManager }

// LetGo moves away the files that brought the interface up; the interface stays as it is. A
// program that [Runs] must have been configured before not to manage it. The record has what
// is needed to undo this, even if there is an error.
func (m *Manager) LetGo(ctx context.Context, r *Record) error {
	r.Manager, r.Link = m.Name, m.Link
	if err := r.Save(); err != nil {
		return err
	}
	if err := r.removeNames(ctx); err != nil {
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

// readAgain makes a running program reload its files. An interface that it no longer
// manages stays as it is when its files are gone.
func readAgain(ctx context.Context, manager string) (err error) {
	switch manager {
	case networkManager:
		_, err = run(ctx, "", "nmcli", "connection", "reload")
	case networkd:
		_, err = run(ctx, "", "networkctl", "reload")
	}
	return err
}

// Return gives the files back to the program, and if the interface is up what belonged to
// it.
func (r *Record) Return(ctx context.Context, up bool) error {
	if err := errors.Join(r.putBackEdits(), r.moveBack()); err != nil {
		return err
	}
	// Those of wgkeys install. The name of networkd's file depends on other files.
	for _, file := range []string{
		apply.ManagerFile(r.Link, networkManager), apply.ManagerFile(r.Link, networkd), apply.FirstFile(r.Link),
	} {
		file = "/etc" + strings.TrimPrefix(file, "/run")
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.WrapFile(fault.Errno(err), "cannot remove", file, fault.AsRoot)
		}
	}
	if !up {
		r.Names = nil
	}
	if err := r.putBackNames(ctx); err != nil {
		return err
	}
	if r.Manager == wgQuick {
		return r.backToWgQuick(ctx, up)
	}
	return readAgain(ctx, r.Manager)
}

// resumes is how long a program may take to manage the interface again.
const resumes = 15 * time.Second

// Resumes reports whether a program manages the interface again by itself, unchanged, once
// nothing prevents that any more. NetworkManager does so at its next start: if it is told
// to manage it now it first removes the routes (seen with 1.58.1).
func Resumes(manager string) bool { return manager == networkd }

// Resume waits until a program that [Resumes] manages the interface again.
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
	return fault.New("no manager takes the interface", r.Link, r.Manager+" does not, although it may",
		"systemctl status "+r.Manager)
}
