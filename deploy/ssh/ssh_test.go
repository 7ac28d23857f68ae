package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/words"
)

func TestRun(t *testing.T) {
	c := sshtest.Start(t, sshtest.Config{}).Client("shale")
	var out bytes.Buffer
	if err := c.Run(t.Context(), "cat; echo end", strings.NewReader("in\n"), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "in\nend\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestErrors holds the words that a user gets for what goes wrong.
func TestErrors(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	other := sshtest.Start(t, sshtest.Config{})
	closed := sshtest.Start(t, sshtest.Config{})
	closed.Stop(t)
	options := func(o ...string) *ssh.Client {
		c := s.Client("shale")
		for _, o := range o {
			c.Args = append([]string{"-o", o}, c.Args...)
		}
		return c
	}
	dest := func(d string) *ssh.Client { return &ssh.Client{Host: "shale", Dest: d} }
	for name, tt := range map[string]struct {
		c             *ssh.Client
		command       string
		what, hint    string
		isUnreachable bool
	}{
		"refused": {closed.Client("shale"), "true", `cannot reach host "shale": ssh: connect to host 127.0.0.1 port `,
			"ssh shale true", true},
		"unknown key": {options("UserKnownHostsFile=/dev/null"), "true",
			`cannot reach host "shale": Host key verification failed`, "ssh shale true", true},
		"changed key": {options("UserKnownHostsFile=" + filepath.Join(other.Dir, "known_hosts")), "true",
			`cannot reach host "shale": Host key verification failed`, "ssh shale true", true},
		"exit": {s.Client("shale"), "echo why >&2; exit 3", `the command failed on host "shale": why (exit status 3)`,
			"", false},
		"escapes": {s.Client("shale"), `printf 'a\033[2Jb\r\n\302\233c\n' >&2; exit 4`,
			`the command failed on host "shale": a?[2Jb; ?c (exit status 4)`, "", false},
		"long": {s.Client("shale"), `head -c 100000 /dev/zero | tr '\0' x >&2; exit 5`,
			`the command failed on host "shale": xxx`, "", false},
		"option": {dest("-oProxyCommand=true"), "true",
			`refused the ssh destination "-oProxyCommand=true": it begins with a dash`, "", false},
		"white space": {dest("a b"), "true", `refused the ssh destination "a b": it holds white space`, "", false},
		"control": {dest("a\x1b[2Jb"), "true",
			`refused the ssh destination "a\x1b[2Jb": it holds white space or a control`, "", false},
		"format":  {dest("a\u202eb"), "true", `refused the ssh destination "a\u202eb": it holds`, "", false},
		"no name": {&ssh.Client{}, "true", `no ssh destination for host`, "", false},
		"name unknown": {&ssh.Client{Host: "shale", Dest: "shale.invalid", Batch: true}, "true",
			`cannot reach host "shale": ssh: Could not resolve hostname shale.invalid`, "ssh shale.invalid true", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.c.Run(t.Context(), tt.command, nil, new(bytes.Buffer))
			if err == nil || !strings.HasPrefix(err.Error(), tt.what) {
				t.Fatalf("got  %v\nwant %v…", err, tt.what)
			}
			if len(err.Error()) > 5000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if got := strings.Join(fault.Hints(err), "\n"); got != tt.hint {
				t.Errorf("hint %q, want %q", got, tt.hint)
			}
			if got := errors.Is(err, ssh.ErrUnreachable); got != tt.isUnreachable {
				t.Errorf("ErrUnreachable: %v", got)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	s, other := sshtest.Start(t, sshtest.Config{}), sshtest.Start(t, sshtest.Config{})
	id, err := os.ReadFile(filepath.Join(other.Dir, "id"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "id.pub"} {
		os.Remove(filepath.Join(s.Dir, name))
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "id"), id, 0o600); err != nil {
		t.Fatal(err)
	}
	err = s.Client("shale").Run(t.Context(), "true", nil, nil)
	if want := `cannot reach host "shale": root@127.0.0.1: Permission denied (publickey)`; err == nil ||
		err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

// TestUserConfig: settings that suit a login, or a host that only forwards ports, must not get in
// the way of a command.
func TestUserConfig(t *testing.T) {
	for name, settings := range map[string]string{
		"login": "RemoteCommand tmux\nRequestTTY force\nForwardAgent yes\nExitOnForwardFailure yes\n" +
			"LocalForward taken 127.0.0.1:1\n",
		"no input":   "StdinNull yes\n",
		"no session": "SessionType none\n",
		"subsystem":  "SessionType subsystem\n",
		"background": "ForkAfterAuthentication yes\n",
	} {
		s := sshtest.Start(t, sshtest.Config{})
		configure(t, s, strings.ReplaceAll(settings, "taken", strings.TrimPrefix(s.Addr, "127.0.0.1:")))
		c := s.Client("shale")
		c.Limit = 20 * time.Second
		var out bytes.Buffer
		err := c.Run(t.Context(), "cat; tty; echo $SSH_AUTH_SOCK; exit 9", strings.NewReader("in\n"), &out)
		if exit := (*ssh.ExitError)(nil); !errors.As(err, &exit) || exit.Code != 9 {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := out.String(), "in\nnot a tty\n\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// configure adds to the user's configuration for a server.
func configure(t *testing.T, s *sshtest.Server, settings string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.Dir, "ssh_config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(settings); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestOlderSSH: an ssh that does not know an option of ours is run without it, also where several
// hosts are reached at once.
func TestOlderSSH(t *testing.T) {
	ssh.UseLaterOptions(t, "NoSuchOption=no")
	s := sshtest.Start(t, sshtest.Config{})
	var group errgroup.Group
	for range 5 {
		group.Go(func() error {
			var out bytes.Buffer
			err := s.Client("shale").Run(t.Context(), "cat", strings.NewReader("in"), &out)
			if err == nil && out.String() != "in" {
				err = errors.New("got " + out.String())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// TestQuietSSH: a user who wants to hear little of ssh hears why it failed.
func TestQuietSSH(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	configure(t, s, "LogLevel QUIET\n")
	s.Stop(t)
	err := s.Client("shale").Run(t.Context(), "true", nil, nil)
	if err == nil || !strings.HasSuffix(err.Error(), ": Connection refused") {
		t.Error(err)
	}
}

// TestBanner: what a host shows to whoever logs in is no message of the command, but is shown if
// there was nothing else.
func TestBanner(t *testing.T) {
	banner := filepath.Join(t.TempDir(), "banner")
	if err := os.WriteFile(banner, []byte("No trespassing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"Banner " + banner}})
	for command, want := range map[string]struct{ seen, err string }{
		"echo " + ssh.Begins + " >&2; echo no >&2; exit 3": {"no\n",
			`the command failed on host "shale": no (exit status 3)`},
		"exit 3": {"No trespassing\n", `the command failed on host "shale": No trespassing (exit status 3)`},
	} {
		var seen bytes.Buffer
		c := s.Client("shale")
		c.Stderr, c.SaysBegin = &seen, true
		err := c.Run(t.Context(), command, nil, nil)
		if err == nil || err.Error() != want.err || seen.String() != want.seen {
			t.Errorf("%s: seen %q, %v", command, seen.String(), err)
		}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	var seen bytes.Buffer
	c := s.Client("shale")
	c.Stderr, c.SaysBegin = &seen, true
	session := ssh.Start(ctx, c, "echo up; exec sleep 60")
	if _, err := session.Stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	interrupt()
	if session.Wait(); seen.Len() > 0 {
		t.Errorf("interrupted: seen %q", seen.String())
	}
}

// TestSharedConnection: the master of a shared connection outlives the command
// and must not be waited for.
func TestSharedConnection(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	c := s.Client("shale")
	socket := filepath.Join(s.Dir, "master")
	c.Args = append(c.Args, "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ControlPath="+socket)
	start := time.Now()
	for range 2 {
		if err := c.Run(t.Context(), "true", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > 50*time.Second {
		t.Errorf("waited %v", d)
	}
	if n := s.Logins(t); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	exec.Command("ssh", "-F", filepath.Join(s.Dir, "ssh_config"), "-o", "ControlPath="+socket, "-O", "exit", "shale").Run()
}

func TestCancel(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	for name, r := range map[string]ssh.Runner{"ssh": s.Client("shale"), "local": ssh.Local{}} {
		ctx, cancel := context.WithCancel(t.Context())
		session := ssh.Start(ctx, r, "echo up; exec sleep 60")
		up := make([]byte, 3)
		if _, err := session.Stdout.Read(up); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		cancel()
		if err := session.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", name, err)
		}
		if d := time.Since(start); d > 50*time.Second { // the command sleeps for 60
			t.Errorf("%s: cancelling took %v", name, d)
		}
	}
}

// A terminal's Ctrl-C reaches what was started as well as us, and that may be gone before
// we have heard of it: it was interrupted, and did not fail.
func TestInterruptedFirst(t *testing.T) {
	s := sshtest.Start(t, sshtest.Config{})
	for name, run := range map[string]func(ctx context.Context) error{
		"local": func(ctx context.Context) error {
			return ssh.Local{}.Run(ctx, "kill -INT $$", nil, nil)
		},
		"ssh": func(ctx context.Context) error { // its own parent's, which is the ssh client
			c := s.Client("shale")
			c.Args = append(c.Args, "-o", "ProxyCommand=kill -INT $PPID; sleep 5")
			return c.Run(ctx, "true", nil, nil)
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(400*time.Millisecond, func() { cancel(fault.Interrupted) })
		if err := run(ctx); !errors.Is(err, fault.Interrupted) {
			t.Errorf("%s: got %v", name, err)
		}
		timer.Stop()
	}
}

// TestSessionFlood: a command that never stops talking is ended.
func TestSessionFlood(t *testing.T) {
	session := ssh.Start(t.Context(), ssh.Local{}, "while :; do echo flood; done")
	if err := session.Wait(); err == nil || !strings.Contains(err.Error(), "it says more than it was asked") {
		t.Error(err)
	}
}

func TestLocal(t *testing.T) {
	var out bytes.Buffer
	if err := (ssh.Local{}).Run(t.Context(), "cat", strings.NewReader("x"), &out); err != nil || out.String() != "x" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	var exit *ssh.ExitError
	err := ssh.Local{}.Run(t.Context(), "echo no >&2; exit 7", nil, &out)
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "no" {
		t.Errorf("got %v", err)
	}
	err = ssh.Local{}.Run(t.Context(), "kill -9 $$", nil, &out)
	if !errors.As(err, &exit) || exit.Code != -1 {
		t.Errorf("got %v", err)
	}
}

func TestNoSSH(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, c := range []*ssh.Client{{Host: "shale"}, {Host: "shale", Uninterrupted: true}} {
		err := c.Run(t.Context(), "true", nil, nil)
		if want := `cannot run "ssh": there is no such program here`; err == nil || err.Error() != want {
			t.Errorf("uninterrupted %v: got %v", c.Uninterrupted, err)
		}
	}
}

// TestStderr: what ssh says is seen at once, but not its escape sequences.
func TestStderr(t *testing.T) {
	c := sshtest.Start(t, sshtest.Config{}).Client("shale")
	var seen bytes.Buffer
	c.Stderr = &seen
	if err := c.Run(t.Context(), `printf 'touch\033[1m\nit\n' >&2`, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := seen.String(), "touch?[1m\nit\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", "'''", `\'`, "$(id)", "`id`", "-n", "a\nb", "!x", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "\x00") {
			return // no argument can hold it
		}
		var out bytes.Buffer
		if err := (ssh.Local{}).Run(t.Context(), "printf %s "+words.Quote(s), nil, &out); err != nil || out.String() != s {
			t.Errorf("%q came back as %q, %v", s, out.String(), err)
		}
	})
}
