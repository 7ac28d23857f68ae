package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// withoutWgkeys takes the program from shale: it has sshd and sh.
const withoutWgkeys = "mkdir -p /run/away; mv /usr/local/bin/wgkeys /run/away/"

// TestLabInstall: a host that has only sshd and sh gets the program, once.
func TestLabInstall(t *testing.T) {
	u := labtest.NewUsers(t)
	u.Must(u.Shale, withoutWgkeys)

	r := u.Run(u.Basalt, "wgkeys install -n shale")
	if r.Code != ui.ExitFindings || r.Stdout != "shale /usr/local/bin/wgkeys to be installed\n" {
		t.Errorf("a dry run exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Shale, "ls -A /usr/local/bin"); r.Stdout != "" {
		t.Errorf("a dry run leaves %s", r.Stdout)
	}
	version := strings.TrimSpace(u.Must(u.Basalt, "wgkeys --version"))
	r = u.Run(u.Basalt, "wgkeys install shale")
	if want := "shale /usr/local/bin/wgkeys installed: " + version + "\n"; r.Code != ui.ExitDone || r.Stdout != want {
		t.Errorf("install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	installedOnShale(u)
	r = u.Run(u.Basalt, "wgkeys install shale")
	if want := "shale /usr/local/bin/wgkeys unchanged\n"; r.Code != ui.ExitDone || r.Stdout != want {
		t.Errorf("the second install exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys down -q shale")
}

// installedOnShale fails where shale has not the program of basalt, whole and alone.
func installedOnShale(u *labtest.Users) {
	u.Helper()
	const script = "cd /usr/local/bin && ls -A && stat -c '%a %U %G' wgkeys && sha256sum <wgkeys"
	if want, got := u.Must(u.Basalt, script), u.Must(u.Shale, script); got != want {
		u.Errorf("shale has\n%sand basalt\n%s", got, want)
	}
}
