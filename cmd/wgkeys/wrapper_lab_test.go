package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// TestLabWrapper: something else has the name of wgkeys on shale, or is around it. What is not
// wgkeys' own word is not believed, and what is gets through.
func TestLabWrapper(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Basalt, "wgkeys push --all basalt")
	u.Must(u.Shale, "mkdir /root/real && cp -L $(command -v wgkeys) /root/real/wgkeys")
	wrap := func(does string) {
		u.Helper()
		u.Must(u.Shale, "rm -f /usr/local/bin/wgkeys")
		if err := u.Shale.WriteFile("/usr/local/bin/wgkeys", []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
			u.Fatal(err)
		}
	}
	verbs := []string{"plan shale", "plan --json shale", "apply shale", "apply --confirm 0 shale", "apply -q shale",
		"confirm shale", "down shale", "down -q shale", "import --undo shale", "uninstall -y shale"}
	for _, does := range []string{"exit 0", "echo under maintenance; exit 0", "echo '{}'", `echo "wgkeys $*"; exit 4`,
		`/root/real/wgkeys "$@" >>/root/log 2>&1; exit 0`} {
		wrap(does)
		for _, verb := range verbs {
			r := u.Run(u.Basalt, "wgkeys "+verb)
			what := "error: cannot tell what wgkeys " + strings.Fields(verb)[0] + ` did on host "shale": `
			if r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, what) ||
				!strings.Contains(r.Stderr, "hint: ssh root@93.93.130.7 'command -v wgkeys; wgkeys --version'") {
				t.Errorf("%s: %s exits %d: %s%s", does, verb, r.Code, r.Stdout, r.Stderr)
			}
		}
		u.Must(u.Shale, "/root/real/wgkeys down -q -t wg0; true")
	}
	wrap(`/root/real/wgkeys "$@" | tee -a /root/log`) // which loses the exit code
	if r := u.Run(u.Basalt, "wgkeys plan shale"); r.Code != ui.ExitFindings || strings.Contains(r.Stdout, ui.EndWords) {
		t.Errorf("plan exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q shale")
	if out := u.Must(u.Basalt, "wgkeys plan shale && wgkeys down shale"); strings.Contains(out, ui.EndWords) {
		t.Error(out)
	}
	u.Must(u.Shale, "mv /etc/wireguard/wg0.key /root/")
	if r := u.Run(u.Basalt, "wgkeys apply shale"); r.Code != ui.ExitFailed || !strings.Contains(r.Stderr, "wg0.key") {
		t.Errorf("apply without a key exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}
