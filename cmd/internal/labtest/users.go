// Package labtest makes hosts for tests of the program, which run the program as people do.
// The same tests run on WireGuard in user space and, in testdata/vm, on the kernel's own.
// The test binary has to act as the program when it is called by the program's name.
//
// [FirstUsers] and [NewUsers] make two hosts with a repository, [NewMesh] as many as a test
// wants, all peers of each other, and [NewStar] a hub with spokes. They embed the test and
// have the same few methods: Must and Run run a line of shell on a host, Write and Read
// access its files, Until and Eventually wait. A [Flow] and a [Stream] count what a tunnel
// loses, and [Needles] find keys where none should be. The functions without arguments are
// programs that stand in for others: see the TestMain of the test binary.
//
// Only tests import it.
package labtest

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

// Users are the first users: their hosts, the repository ~/net on basalt and, on shale, a
// clone of it without secrets.
type Users struct {
	*demo.Network
	*testing.T // its Run is u.T.Run
}

// With returns u for a subtest.
func (u *Users) With(t *testing.T) *Users { return &Users{u.Network, t} }

// Tunnel writes the tunnel file.
func (u *Users) Tunnel(text string) {
	u.Helper()
	u.Write(u.Basalt, "/root/net/tunnels/wg0.toml", text)
}

// Write writes a file on a host.
func (u *Users) Write(h *lab.Host, path, text string) {
	u.Helper()
	if err := h.WriteFile(path, []byte(text), 0o644); err != nil {
		u.Fatal(err)
	}
}

// Read returns the content of a file on a host.
func (u *Users) Read(h *lab.Host, path string) string {
	u.Helper()
	b, err := h.ReadFile(path)
	if err != nil {
		u.Fatal(err)
	}
	return string(b)
}

// Clone copies the public part of the repository to shale.
func (u *Users) Clone() {
	u.Helper()
	for path := range strings.FieldsSeq(u.Must(u.Basalt, "ls wgkeys.toml tunnels/*.toml keyring/*/*.pub")) {
		u.Write(u.Shale, "/root/net/"+path, u.Read(u.Basalt, "/root/net/"+path))
	}
}

// A Result is the outcome of a command.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a line of shell on a host, in ~/net if it exists.
func (u *Users) Run(h *lab.Host, script string) Result {
	u.Helper()
	var stdout, stderr strings.Builder
	cmd := h.Command(u.Context(), "sh", "-c", "cd /root/net 2>/dev/null || cd /root; "+script)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		u.Fatalf("%s: %s: %v", h.Name(), script, err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Must runs a line of shell that has to succeed and returns its output.
func (u *Users) Must(h *lab.Host, script string) string {
	u.Helper()
	r := u.Run(h, script)
	if r.Code != 0 {
		u.Fatalf("%s: %s: exit %d\n%s%s", h.Name(), script, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// NewHost makes a host without links.
func (u *Users) NewHost(name string) *lab.Host {
	u.Helper()
	h, err := u.Host(name)
	if err != nil {
		u.Fatal(err)
	}
	return h
}

// Snapshot returns all of a host's network state that apply could change.
func (u *Users) Snapshot(h *lab.Host) string {
	u.Helper()
	if err := h.WaitAddresses(u.Context()); err != nil { // otherwise they change by themselves
		u.Fatal(err)
	}
	var s string
	err := lab.Until(u.Context(), "links of "+h.Name()+" to be gone", func(ctx context.Context) (gone bool, err error) {
		s, err = demo.Snapshot(ctx, h)
		return !leaving(s), err
	})
	if err != nil {
		u.Fatal(err)
	}
	return s
}

// leaving reports whether a snapshot has parameters of a link that is listed no more: the kernel
// removes them last.
func leaving(snapshot string) bool {
	for line := range strings.Lines(snapshot) {
		name, ok := strings.CutPrefix(line, "net.ipv4.conf.")
		name, _, first := strings.Cut(name, ".accept_local ")
		name = strings.ReplaceAll(name, "/", ".")
		if ok && first && name != "all" && name != "default" &&
			!strings.Contains(snapshot, ": "+name+":") && !strings.Contains(snapshot, ": "+name+"@") {
			return true
		}
	}
	return false
}

// Same fails the test if the host's network state differs from before.
func (u *Users) Same(h *lab.Host, before, when string) {
	u.Helper()
	if diff := demo.LineDiff(before, u.Snapshot(h)); diff != "" {
		u.Errorf("%s is not as it was: %s\n%s", h.Name(), when, diff)
	}
}

// Want fails the test if text lacks one of the lines. White space does not matter.
func (u *Users) Want(about, text string, lines ...string) {
	u.Helper()
	have := map[string]bool{}
	for line := range strings.Lines(text) {
		have[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, line := range lines {
		if !have[line] {
			u.Errorf("%s: no line %q in\n%s", about, line, text)
		}
	}
}

// PlanIs fails the test unless the plan has these steps or, without steps, is empty.
func (u *Users) PlanIs(when string, steps ...string) {
	u.Helper()
	r := u.Run(u.Basalt, "wgkeys plan")
	if steps == nil && (r.Code != 0 || r.Stdout != "") {
		u.Errorf("%s: plan exits %d and has steps:\n%s%s", when, r.Code, r.Stdout, r.Stderr)
	}
	for _, want := range steps {
		if !strings.Contains(r.Stdout, want) {
			u.Errorf("%s: no step %q in\n%s", when, want, r.Stdout)
		}
	}
}

// Patience is how long a test waits for an event: much longer than it takes on a busy
// machine.
const Patience = 2 * time.Minute

// Eventually waits until ok returns true, at most for Patience. It does not fail: the
// caller checks again.
func (u *Users) Eventually(ok func() bool) {
	u.Helper()
	for end := time.Now().Add(Patience); !ok() && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
}

// Until waits until done returns true, and fails the test after Patience.
func (u *Users) Until(what string, done func() bool) {
	u.Helper()
	for end := time.Now().Add(Patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			u.Fatal(errors.New("waited in vain for " + what))
		}
	}
}
