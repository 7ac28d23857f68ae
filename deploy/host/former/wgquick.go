package former

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/fault"
)

// confOf is the file of wg-quick(8) for an interface.
func confOf(link string) string { return "/etc/wireguard/" + link + ".conf" }

func unitOf(link string) string { return "wg-quick@" + link + ".service" }

func findWgQuick(_ context.Context, link string) (*Manager, error) {
	if !isThere(confOf(link)) {
		return nil, nil
	}
	return &Manager{Name: wgQuick, Link: link, Files: []string{confOf(link)}}, nil
}

// leaveWgQuick disables the unit and moves the file away, so that no "wg-quick down"
// removes the tunnel, and removes wg-quick's nftables tables, or its iptables rules, which
// wgkeys replaces by its own.
func (m *Manager) leaveWgQuick(ctx context.Context, r *Record) error {
	unit := unitOf(m.Link)
	if booted() {
		if isSo(ctx, "is-enabled", unit) {
			r.Enabled = append(r.Enabled, unit)
			if err := r.Save(); err != nil {
				return err
			}
			if _, err := run(ctx, "", "systemctl", "--quiet", "disable", unit); err != nil {
				return err
			}
		}
		if isSo(ctx, "is-active", unit) {
			r.Active = append(r.Active, unit)
			if err := r.Save(); err != nil {
				return err
			}
			// The process of a userspace device belongs to the unit, and stays.
			lines := "ExecStop=\nExecStopPost=\nKillMode=none\nSendSIGKILL=no\n"
			if err := withoutCommands(ctx, unit, "stop", lines); err != nil {
				return err
			}
		}
	}
	if err := r.moveAside(m.Files...); err != nil {
		return err
	}
	if err := r.removeTables(ctx); err != nil {
		return err
	}
	return r.removeRules(ctx)
}

func (r *Record) backToWgQuick(ctx context.Context, up bool) error {
	if !up {
		r.Tables, r.Rules, r.Active = nil, nil, nil
	}
	for _, text := range r.Tables {
		// A table that exists would get each rule twice.
		head, _, _ := strings.Cut(text, " {")
		if _, err := run(ctx, head+"\ndelete "+head+"\n"+text, "nft", "-f", "-"); err != nil {
			return err
		}
	}
	r.Tables = nil
	if err := r.putBackRules(ctx); err != nil { // which saves the record
		return err
	}
	for _, unit := range r.Active {
		if isSo(ctx, "is-active", unit) {
			if err := withCommands(ctx, unit); err != nil { // left by a killed take-over
				return err
			}
			continue
		}
		lines := "ExecStartPre=\nExecStart=\nExecStart=/bin/true\nExecStartPost=\n"
		if err := withoutCommands(ctx, unit, "start", lines); err != nil {
			return err
		}
	}
	for _, unit := range r.Enabled {
		if _, err := run(ctx, "", "systemctl", "--quiet", "enable", unit); err != nil {
			return err
		}
	}
	return nil
}

// isSo asks systemctl(1) for a state of a unit.
func isSo(ctx context.Context, state, unit string) bool {
	ctx, cancel := context.WithTimeout(ctx, runs)
	defer cancel()
	return exec.CommandContext(ctx, "systemctl", "--quiet", state, unit).Run() == nil
}

// withoutCommands changes the state of a unit without running its commands, and without
// units that depend on it.
func withoutCommands(ctx context.Context, unit, do, lines string) error {
	file := dropIn(unit)
	dir := filepath.Dir(file)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = journal.WriteFile(file, []byte("[Service]\n"+lines), 0o644)
	}
	if err != nil {
		return fault.WrapFile(fault.Errno(err), "cannot write", file, fault.AsRoot)
	}
	_, err = run(ctx, "", "systemctl", "daemon-reload")
	if err == nil {
		_, err = run(ctx, "", "systemctl", "--job-mode=ignore-dependencies", do, unit)
	}
	if failed := withCommands(ctx, unit); err == nil {
		err = failed
	}
	return err
}

// dropIn is the file of [withoutCommands]: the last of its folder.
func dropIn(unit string) string { return "/run/systemd/system/" + unit + ".d/zzz-wgkeys.conf" }

// withCommands ends what [withoutCommands] has begun.
func withCommands(ctx context.Context, unit string) error {
	os.Remove(dropIn(unit))
	os.Remove(filepath.Dir(dropIn(unit))) // not if it has files of others
	_, err := run(ctx, "", "systemctl", "daemon-reload")
	return err
}

// removeTables removes the nftables tables that wg-quick(8) made for a tunnel with a
// default route (add_default in its source), and saves them.
func (r *Record) removeTables(ctx context.Context) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil // then it has made iptables rules instead
	}
	for _, family := range []string{"ip", "ip6"} {
		name := "wg-quick-" + r.Link
		text, err := run(ctx, "", "nft", "list", "table", family, name)
		if err != nil {
			continue // there is none
		}
		r.Tables = append(r.Tables, text)
		if err := r.Save(); err != nil {
			return err
		}
		if _, err := run(ctx, "", "nft", "delete", "table", family, name); err != nil {
			return err
		}
	}
	return nil
}
