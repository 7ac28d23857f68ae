package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
)

// The tests in *_lab_test.go run the program itself, as people do, on the
// first users' hosts: the very same tests on WireGuard in user space and, in
// testdata/vm, on the kernel's own.

// users are the first users: their hosts, the repository ~/net on basalt and
// a copy without secrets, as git would bring it, on shale.
type users struct {
	*demo.Network
	t *testing.T
}

// with is u in a subtest.
func (u *users) with(t *testing.T) *users { return &users{u.Network, t} }

// tunnel writes the tunnel file.
func (u *users) tunnel(text string) {
	u.t.Helper()
	u.write(u.Basalt, "/root/net/tunnels/wg0.toml", text)
}

func (u *users) write(h *lab.Host, path, text string) {
	u.t.Helper()
	if err := h.WriteFile(path, []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

func (u *users) read(h *lab.Host, path string) string {
	u.t.Helper()
	b, err := h.ReadFile(path)
	if err != nil {
		u.t.Fatal(err)
	}
	return string(b)
}

// clone brings the plain half of the repository to shale.
func (u *users) clone() {
	u.t.Helper()
	for path := range strings.FieldsSeq(u.must(u.Basalt, "ls wgkeys.toml tunnels/*.toml keyring/*/*.pub")) {
		u.write(u.Shale, "/root/net/"+path, u.read(u.Basalt, "/root/net/"+path))
	}
}

// A result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a line of shell on a host, in ~/net where there is one.
func (u *users) run(h *lab.Host, script string) result {
	u.t.Helper()
	return u.runContext(u.t.Context(), h, script)
}

func (u *users) runContext(ctx context.Context, h *lab.Host, script string) result {
	u.t.Helper()
	var stdout, stderr strings.Builder
	cmd := h.Command(ctx, "sh", "-c", "cd /root/net 2>/dev/null || cd /root; "+script)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		u.t.Fatalf("%s: %s: %v", h.Name(), script, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a line of shell that has to succeed and returns its output.
func (u *users) must(h *lab.Host, script string) string {
	u.t.Helper()
	r := u.run(h, script)
	if r.code != 0 {
		u.t.Fatalf("%s: %s: exit %d\n%s%s", h.Name(), script, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// newHost makes a host that has nothing yet.
func (u *users) newHost(name string) *lab.Host {
	u.t.Helper()
	h, err := u.Host(name)
	if err != nil {
		u.t.Fatal(err)
	}
	return h
}

// snapshot is all of a host's network that apply could touch.
func (u *users) snapshot(h *lab.Host) string {
	u.t.Helper()
	s, err := demo.Snapshot(u.t.Context(), h)
	if err != nil {
		u.t.Fatal(err)
	}
	return s
}

// same fails where the host's network is not what it was.
func (u *users) same(h *lab.Host, before, when string) {
	u.t.Helper()
	if diff := demo.LineDiff(before, u.snapshot(h)); diff != "" {
		u.t.Errorf("%s is not as it was: %s\n%s", h.Name(), when, diff)
	}
}

// want fails where text lacks one of the lines, white space aside.
func (u *users) want(about, text string, lines ...string) {
	u.t.Helper()
	have := map[string]bool{}
	for line := range strings.Lines(text) {
		have[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, line := range lines {
		if !have[line] {
			u.t.Errorf("%s: no line %q in\n%s", about, line, text)
		}
	}
}

// planIs wants a plan with these steps, and none if there are none.
func (u *users) planIs(when string, steps ...string) {
	u.t.Helper()
	r := u.run(u.Basalt, "wgkeys plan")
	if steps == nil && (r.code != 0 || r.stdout != "") {
		u.t.Errorf("%s: plan exits %d and has steps:\n%s%s", when, r.code, r.stdout, r.stderr)
	}
	for _, want := range steps {
		if !strings.Contains(r.stdout, want) {
			u.t.Errorf("%s: no step %q in\n%s", when, want, r.stdout)
		}
	}
}

// patience is how long a test waits for what has to come: much longer than it takes on a
// machine with other work.
const patience = 2 * time.Minute

// eventually waits until ok, and does not decide: what was waited for is looked at again
// by the caller.
func (u *users) eventually(ok func() bool) {
	u.t.Helper()
	for end := time.Now().Add(patience); !ok() && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
}

func (u *users) until(what string, done func() bool) {
	u.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatal(errors.New("waited in vain for " + what))
		}
	}
}
