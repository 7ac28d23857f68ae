package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/remote"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh/sshtest"
)

// A fleet is a repository whose hosts are real OpenSSH servers.
type fleet struct {
	*testing.T
	dir, bin string
}

// newFleet makes the repository. A host that has no server is where nothing listens.
func newFleet(t *testing.T, tunnel string, servers map[string]*sshtest.Server) *fleet {
	t.Helper()
	f := &fleet{T: t, dir: filepath.Join(t.TempDir(), "net"), bin: t.TempDir()}
	conf := ""
	for host, s := range servers {
		text, err := os.ReadFile(filepath.Join(s.Dir, "ssh_config"))
		if err != nil {
			t.Fatal(err)
		}
		conf += strings.Replace(string(text), "Host *", "Host "+host, 1) + "\n"
	}
	conf += "Host *\n HostName 127.0.0.1\n Port 1\n UserKnownHostsFile /dev/null\n"
	f.write(filepath.Join(f.bin, "config"), conf)
	// The real ssh, with this test's configuration in place of the user's.
	f.write(filepath.Join(f.bin, "ssh"), "#!/bin/sh\nexec "+which(t, "ssh")+" -F "+filepath.Join(f.bin,
		"config")+` "$@"`+"\n")
	f.must("init", "-q", "--classic", f.dir)
	f.write(filepath.Join(f.dir, "tunnels", "wg0.toml"), tunnel)
	return f
}

func which(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fleet) write(path, text string) {
	f.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		f.Fatal(err)
	}
}

// run runs the program, where no terminal is.
func (f *fleet) run(args ...string) (code int, stdout, stderr string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "wgkeys", args...)
	if _, err := os.Stat(f.dir); err == nil {
		c.Dir = f.dir
	}
	c.Env = append(os.Environ(), "PATH="+f.bin+":"+os.Getenv("PATH"), "HOME="+f.bin, "XDG_CONFIG_HOME=",
		"GIT_CONFIG_NOSYSTEM=1")
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		f.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), said.String()
}

func (f *fleet) must(args ...string) string {
	f.Helper()
	code, out, said := f.run(args...)
	if code != 0 {
		f.Fatalf("wgkeys %s exits %d:\n%s%s", strings.Join(args, " "), code, out, said)
	}
	return out
}

const twoHosts = `[hosts.alpha]
endpoint = "192.0.2.1"
addresses = ["10.7.0.1/32"]
[hosts.beta]
addresses = ["10.7.0.2/32"]
`

// TestSilentHost: alpha lets in and says nothing more, or nothing but on standard error. No
// verb waits for it for ever, and status and push tell of the others.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	for does, why := range map[string]string{
		"sleep 100": "it has said nothing for 4s",
		"sh -c 'while :; do echo a moment >&2; sleep 1; done'": "it has said nothing for 8s but on standard error",
	} {
		s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand exec " + does}})
		f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
		f.must("gen", "-q", "alpha", "beta")
		for _, verb := range []string{"status", "push --all", "plan alpha", "plan --all", "apply alpha", "down alpha",
			"confirm alpha", "rotate -n alpha", "rotate -y --now beta", "install alpha"} {
			t.Run(does+"/"+verb, func(t *testing.T) {
				t.Parallel()
				code, out, said := f.run(append(strings.Fields(verb), "--timeout", "4s")...)
				if code != ui.ExitFailed || !strings.Contains(said, `"alpha": `+why) {
					t.Errorf("exits %d:\n%s%s", code, out, said)
				}
				if all := strings.Contains(verb, "status") || strings.Contains(verb, "--all"); all &&
					!strings.Contains(said, `cannot reach host "beta"`) {
					t.Errorf("nothing of beta: %s", said)
				}
			})
		}
	}
}

// TestNoShell: a login that runs no command, or another one, has done nothing, however it ends.
func TestNoShell(t *testing.T) {
	t.Parallel()
	for does, why := range map[string]string{
		"true":                      "it ran no command",
		"false":                     "exit status 1",
		"echo 'no {commands} here'": `it said "no {commands} here"`,
	} {
		s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand " + does}})
		f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
		f.must("gen", "-q", "alpha", "beta")
		for _, verb := range []string{"status alpha", "plan alpha", "plan --all", "apply alpha", "down alpha",
			"confirm alpha", "uninstall -y alpha"} {
			t.Run(does+"/"+verb, func(t *testing.T) {
				t.Parallel()
				code, out, said := f.run(strings.Fields(verb)...)
				if code != ui.ExitFailed || !strings.Contains(said, `no shell to work with on host "alpha": `+why) ||
					!strings.Contains(said, "hint: ssh alpha echo works; ") || !strings.Contains(said, "ForceCommand in sshd_config") {
					t.Errorf("exits %d:\n%s%s", code, out, said)
				}
			})
		}
	}
}

// TestTimeoutFlag: a limit that no host could keep is refused.
func TestTimeoutFlag(t *testing.T) {
	t.Parallel()
	f := newFleet(t, twoHosts, nil)
	for _, bad := range []string{"0", "-5s", "1ms", "soon"} {
		if code, _, said := f.run("status", "--timeout", bad); code != ui.ExitUsage {
			t.Errorf("%s: exits %d: %s", bad, code, said)
		}
	}
}

// statusOf reads what status --json says of a host.
func statusOf(t *testing.T, text, host string) (s remote.HostStatus) {
	t.Helper()
	var all []remote.HostStatus
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, s := range all {
		if s.Host == host {
			return s
		}
	}
	t.Fatal(fmt.Errorf("nothing of %s: %s", host, text))
	return s
}

// TestPulse: an answer that takes long is one all the same.
func TestPulse(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	p := newPulse(w, time.Millisecond)
	first := make([]byte, 1)
	if _, err := io.ReadFull(r, first); err != nil || first[0] != '\n' { // which may take long to come
		t.Fatalf("%q: %v", first, err)
	}
	go func() {
		io.WriteString(p, `{"protocol":1}`)
		p.end()
		w.Close()
	}()
	text, err := io.ReadAll(r)
	var a struct{ Protocol int }
	if err := errors.Join(err, json.Unmarshal(text, &a)); err != nil || a.Protocol != 1 {
		t.Errorf("%q: %v", text, err)
	}
}
