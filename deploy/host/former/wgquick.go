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

// confOf is where wg-quick(8) looks for an interface's file.
func confOf(link string) string { return "/etc/wireguard/" + link + ".conf" }

func unitOf(link string) string { return "wg-quick@" + link + ".service" }

func findWgQuick(_ context.Context, link string) (*Manager, error) {
	if !isThere(confOf(link)) {
		return nil, nil
	}
	return &Manager{Name: wgQuick, Link: link, Files: []string{confOf(link)}}, nil
}

// leaveWgQuick disables the unit and puts the file aside, so that nobody's "wg-quick down"
// takes the tunnel along, and removes wg-quick's tables of nftables, or its rules of
// iptables, which wgkeys has its own for.
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
			// What a user-space device runs in is the unit's, and stays.
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
		// A table that is there would get each rule twice.
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
			if err := withCommands(ctx, unit); err != nil { // of a take-over that was killed
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

// withoutCommands takes a unit to another state, while lines of its stand for the
// commands that it would run, and alone: units that depend on it stay as they are.
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
	os.Remove(filepath.Dir(dropIn(unit))) // not where somebody else's is
	_, err := run(ctx, "", "systemctl", "daemon-reload")
	return err
}

// removeTables removes what wg-quick(8) has in nftables for a tunnel with a default route
// (add_default in its text), and keeps it for the way back.
func (r *Record) removeTables(ctx context.Context) error {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil // it has made none then, but rules of iptables
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
