package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

// The tests in *_lab_test.go run the program itself, as people do, on the
// first users' hosts: the very same tests on WireGuard in user space and, in
// testdata/vm, on the kernel's own.

// firstUsers returns hosts of the first users with no tunnel and their own tunnel file.
// They are shared, for they take long to make: the test has them to itself until its
// end, and has to leave no tunnel.
func firstUsers(t *testing.T) *users {
	t.Helper()
	t.Parallel()
	n := firstLabs.take(t)
	t.Cleanup(func() { firstLabs.give(n) })
	u := &users{n, t}
	u.must(u.Basalt, "wgkeys down")
	u.must(u.Shale, "wgkeys down")
	u.tunnel(demo.FirstTunnel)
	u.clone()
	return u
}

// firstLabs are the laboratories of firstUsers that nobody has now.
var firstLabs laboratories

type laboratories struct {
	mu   sync.Mutex
	all  []*demo.Network
	free []*demo.Network
}

func (l *laboratories) take(t *testing.T) *demo.Network {
	t.Helper()
	if n := l.oneFree(); n != nil {
		return n
	}
	n := newFirstUsers(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, n)
	return n
}

func (l *laboratories) oneFree() *demo.Network {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return nil
	}
	n := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return n
}

func (l *laboratories) give(n *demo.Network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, n)
}

// close ends them, after the last test.
func (l *laboratories) close() {
	for _, n := range l.all {
		n.Close()
	}
}

// users are the first users: their hosts, the repository ~/net on basalt and
// a copy without secrets, as git would bring it, on shale.
type users struct {
	*demo.Network
	t *testing.T
}

// programs are what the tests need on hosts.
var programs = []string{"sshd", "ssh", "ssh-keygen", "ping", "wg", "sysctl", "nft", "strace"}

// newUsers has made keys for both hosts and pushed them; no tunnel is up. The
// laboratory ends with the test.
func newUsers(t *testing.T) *users {
	t.Helper()
	n := newFirstUsers(t)
	t.Cleanup(n.Close)
	return &users{n, t}
}

// newFirstUsers does it for longer than the test.
func newFirstUsers(t *testing.T) *demo.Network {
	t.Helper()
	labtest.Require(t, programs...)
	n, err := demo.NewNetwork(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	u := &users{n, t}
	u.must(n.Basalt, "cd /root && wgkeys init --classic net")
	u.tunnel(demo.FirstTunnel)
	u.must(n.Basalt, "wgkeys gen basalt shale && wgkeys push basalt shale")
	u.clone()
	return n
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
