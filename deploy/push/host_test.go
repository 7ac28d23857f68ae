package push_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring"
)

// A host is a server with one of the programs that can speak for it.
type host struct {
	*sshtest.Server
	speaker string
	lines   *recorder
}

// A recorder is a Runner that keeps what the host says.
type recorder struct {
	ssh.Runner
	mu   sync.Mutex
	said bytes.Buffer
}

func (r *recorder) Run(ctx context.Context, command string, in io.Reader, out io.Writer) error {
	return r.Runner.Run(ctx, command, in, io.MultiWriter(lockedWriter{r}, out))
}

type lockedWriter struct{ *recorder }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(p)
}

// speakers are the setups of a server for each program that can speak for the
// host: sh and the tools of Debian, bash as sh, busybox for everything, and
// wgkeys.
var speakers = map[string]func(testing.TB) sshtest.Config{
	"dash":    func(testing.TB) sshtest.Config { return sshtest.Config{} },
	"bash":    func(testing.TB) sshtest.Config { return asShell("/bin/bash") },
	"mksh":    func(testing.TB) sshtest.Config { return asShell("/bin/mksh") },
	"busybox": busybox,
	"wgkeys":  wgkeys,
}

func asShell(shell string) sshtest.Config {
	return sshtest.Config{Setup: []string{"mount --bind " + shell + " /bin/sh"}}
}

// busybox has no command but busybox's and wg.
func busybox(t testing.TB) sshtest.Config {
	bin := t.TempDir()
	for _, name := range strings.Fields("sh cat chmod chown id kill ls mkdir mktemp mv rm sha256sum sync tr wc") {
		link(t, "/bin/busybox", filepath.Join(bin, name))
	}
	link(t, "/usr/bin/wg", filepath.Join(bin, "wg"))
	c := asShell("/bin/busybox")
	c.Lines = []string{"SetEnv PATH=" + bin}
	return c
}

// wgkeys puts the test binary into /usr/local/bin of the server.
func wgkeys(t testing.TB) sshtest.Config {
	bin := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bin, "wgkeys"), b, 0o755))
	must(t, os.Chmod(bin, 0o755))
	return sshtest.Config{Setup: []string{"mount --bind " + bin + " /usr/local/bin"}}
}

// eachSpeaker runs test on a fresh server for each speaker, with more of the
// server's configuration if extra is not nil.
func eachSpeaker(t *testing.T, extra func(*sshtest.Config), test func(*testing.T, host)) {
	sshtest.Need(t, "wg", "busybox", "bash", "mksh")
	for name, config := range speakers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			if extra != nil {
				extra(&c)
			}
			test(t, newHost(t, name, c))
		})
	}
}

func newHost(t testing.TB, speaker string, c sshtest.Config) host {
	s := sshtest.Start(t, c)
	return host{s, speaker, &recorder{Runner: s.Client("shale")}}
}

// A pushing is [push.Host] or [push.DryRun].
type pushing = func(ctx context.Context, r ssh.Runner, host string, files []push.File) ([]push.Result, error)

// push pushes, checks that the expected speaker answered, over one connection,
// and that no secret came back.
func (h host) push(t *testing.T, files ...push.File) ([]push.Result, error) {
	t.Helper()
	return h.pushAs(t, push.Host, files...)
}

func (h host) pushAs(t *testing.T, do pushing, files ...push.File) ([]push.Result, error) {
	t.Helper()
	h.lines.said.Reset()
	logins := h.Logins(t)
	results, err := do(t.Context(), h.lines, "shale", files)
	if n := h.Logins(t) - logins; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	greeting := "wgkeys 1 plain\n"
	if h.speaker == "wgkeys" {
		greeting = "wgkeys 1 receive\n"
	}
	if said := h.lines.said.String(); !strings.Contains(said, greeting) {
		t.Errorf("the host did not greet with %q but said %q", greeting, said)
	}
	return results, err
}

// A secret is a key and the file it goes to.
type secret struct {
	push.File
	text   []byte
	called *int
}

func newKey(t testing.TB, path string) secret {
	k, err := keyring.GeneratePrivateKey()
	must(t, err)
	return newSecret(path, k.PublicKey().String(), k.File())
}

func newPSK(t testing.TB, path string) secret {
	k, err := keyring.GeneratePresharedKey()
	must(t, err)
	return newSecret(path, k.Fingerprint(), k.File())
}

func newSecret(path, fingerprint string, text []byte) secret {
	called := new(int)
	return secret{push.File{Path: path, Want: fingerprint, Secret: func() ([]byte, error) {
		*called++
		return bytes.Clone(text), nil
	}}, text, called}
}

// forbidden returns the file with a Secret that must not be needed.
func (s secret) forbidden() push.File {
	s.Secret = func() ([]byte, error) { panic("decrypted " + s.Path) }
	return s.File
}

// inPlace checks the file on the host, and that nothing lies beside it.
func (s secret) inPlace(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(s.Path)
	must(t, err)
	if !bytes.Equal(b, s.text) {
		t.Errorf("%q holds another text", s.Path)
	}
	fi, err := os.Stat(s.Path)
	must(t, err)
	if fi.Mode() != 0o600 {
		t.Errorf("%q has mode %v", s.Path, fi.Mode())
	}
	noLitter(t, filepath.Dir(s.Path))
}

// noLitter checks that no temporary file was left behind.
func noLitter(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".wgkeys") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func actions(results []push.Result) string {
	var all []string
	for _, r := range results {
		all = append(all, string(r.Action))
	}
	return strings.Join(all, " ")
}

func fails(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func link(t testing.TB, old, new string) { must(t, os.Symlink(old, new)) }

func write(t testing.TB, path, text string, mode os.FileMode) {
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var errTouch = errors.New("the hardware key was not touched")
