package push_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/fault"
)

const (
	sudoer  = "deploy:x:4242:4242::/:/bin/sh"
	without = "mount --bind /dev/null "
)

// sudoers gives the server a sudoers(5) file of its own.
func sudoers(t testing.TB, rules string) string {
	path := filepath.Join(t.TempDir(), "sudoers")
	write(t, path, rules+"\n", 0o440)
	return "mount --bind " + path + " /etc/sudoers"
}

func (h host) as(user string) host {
	c := h.Client("shale")
	c.Dest = user + "@shale"
	h.lines = &recorder{Runner: c}
	return h
}

// TestSudo: who is not root becomes root without a question, and may be
// allowed nothing but wgkeys.
func TestSudo(t *testing.T) {
	sshtest.Need(t, "sudo")
	for _, tt := range []struct{ speaker, rule string }{
		{"dash", "deploy ALL=(root) NOPASSWD: ALL"},
		{"wgkeys", "deploy ALL=(root) NOPASSWD: /usr/local/bin/wgkeys receive"},
	} {
		c := speakers[tt.speaker](t)
		c.Users = []string{sudoer}
		c.Setup = append(c.Setup, sudoers(t, tt.rule))
		h := newHost(t, tt.speaker, c).as("deploy")
		key := newKey(t, t.TempDir()+"/wg0.key")
		_, err := h.push(t, key.File)
		must(t, err)
		key.inPlace(t)
		if owner := stat(t, key.Path); owner.Uid != 0 || owner.Gid != 0 {
			t.Errorf("owner %d %d", owner.Uid, owner.Gid)
		}
	}
}

// TestNoEntry holds the words for hosts on which nothing can be done.
func TestNoEntry(t *testing.T) {
	sshtest.Need(t, "sudo", "wg")
	for name, tt := range map[string]struct {
		user       string
		shell      string
		setup      []string
		what, hint string
	}{
		"no right": {"deploy", "/bin/sh", []string{sudoers(t, "root ALL=(ALL) ALL")},
			`cannot become root on host "shale": user "deploy" is not root there, and `,
			"on shale: visudo -f /etc/sudoers.d/wgkeys, and add: deploy ALL=(root) NOPASSWD: ALL; for push alone, where " +
				"wgkeys is installed: deploy ALL=(root) NOPASSWD: /usr/local/bin/wgkeys receive"},
		"no sudo": {"deploy", "/bin/sh", []string{without + "/usr/bin/sudo"},
			`cannot become root on host "shale": user "deploy" is not root there, and there is no sudo`,
			"name root in the tunnel file, under [hosts.shale]: ssh = \"root@ADDRESS\"; or on shale, as root: install sudo, then " +
				"visudo -f /etc/sudoers.d/wgkeys, and add: deploy ALL=(root) NOPASSWD: ALL"},
		"no wg": {"root", "/bin/sh", []string{without + "/usr/bin/wg"},
			`no way to check keys on host "shale": neither wg nor wgkeys is installed there`,
			"wgkeys install shale, or on shale: apt install wireguard-tools"},
		"no mktemp": {"root", "/bin/sh", []string{without + "/usr/bin/mktemp"},
			`no way to install files on host "shale": there is no command "mktemp"`, ""},
		"no login": {"guest", "/usr/sbin/nologin", nil,
			`no shell to work with on host "shale": it said "This account is currently not available."`, ""},
		"no sh": {"guest", "/bin/bash", []string{without + "/bin/sh"},
			`no shell to work with on host "shale": the connection ended: bash: line 1:`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := map[string]string{"deploy": "4242", "guest": "0"}[tt.user]
			user := fmt.Sprintf("%s:x:%s:%s::/:%s", tt.user, id, id, tt.shell)
			c := sshtest.Config{Setup: tt.setup}
			if tt.user != "root" {
				c.Users = []string{user}
			}
			h := newHost(t, "none", c).as(tt.user)
			_, err := push.Host(t.Context(), h.lines, "shale", []push.File{newKey(t, t.TempDir()+"/a").forbidden()})
			fails(t, err, tt.what)
			if got := strings.Join(fault.Hints(err), "\n"); got != tt.hint {
				t.Errorf("hint %q, want %q", got, tt.hint)
			}
		})
	}
}

// TestLoginShells: the command is read by whatever shell the user has there,
// and a login script may have something to say first, also without a newline.
func TestLoginShells(t *testing.T) {
	sshtest.Need(t, "tcsh", "fish", "zsh", "mksh", "busybox")
	home := t.TempDir()
	write(t, filepath.Join(home, ".bashrc"), "echo 'Welcome to shale!'; echo \"wgkeys 0\"; printf '\\033]0;shale\\007'\n", 0o644)
	shells := []string{"/bin/dash", "/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish", "/usr/bin/zsh", "/bin/mksh"}
	var c sshtest.Config
	for _, shell := range shells {
		c.Users = append(c.Users, fmt.Sprintf("%s:x:0:0::%s:%s", filepath.Base(shell), home, shell))
	}
	h := newHost(t, "dash", c)
	for _, shell := range shells {
		key := newKey(t, filepath.Join(t.TempDir(), "it's !wg0 \\.key"))
		_, err := h.as(filepath.Base(shell)).push(t, key.File)
		if err != nil {
			t.Errorf("%s: %v", shell, err)
			continue
		}
		key.inPlace(t)
	}
}

// TestKilledBefore: the host's side dies while the controller decrypts.
func TestKilledBefore(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		old := newKey(t, t.TempDir()+"/wg0.key")
		write(t, old.Path, string(old.text), 0o600)
		next := newKey(t, old.Path)
		secret := next.Secret
		next.Secret = func() ([]byte, error) {
			h.KillSessions(t)
			return secret()
		}
		_, err := h.push(t, next.File)
		fails(t, err, `lost host "shale": not certain: `+old.Path+`: `)
		if got := strings.Join(fault.Hints(err), "\n"); got != "wgkeys push shale\nssh shale true" {
			t.Errorf("hints %q", got)
		}
		old.inPlace(t)
	})
}

// A cutter ends the connection right after the host's first "done".
type cutter struct{ ssh.Runner }

func (c cutter) Run(ctx context.Context, command string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return c.Runner.Run(ctx, command, in, &cut{w: out, then: func() { cancel(io.ErrUnexpectedEOF) }})
}

type cut struct {
	w    io.Writer
	seen []byte
	then func()
}

func (c *cut) Write(p []byte) (int, error) {
	for _, b := range p {
		lines := bytes.Count(c.seen, []byte("\ndone "))
		if lines > 0 && c.seen[len(c.seen)-1] == '\n' {
			c.then()
			return len(p), nil
		}
		c.seen = append(c.seen, b)
		if _, err := c.w.Write([]byte{b}); err != nil {
			return 0, err
		}
	}
	if bytes.Contains(c.seen, []byte("\ndone ")) && c.seen[len(c.seen)-1] == '\n' {
		c.then()
	}
	return len(p), nil
}

// TestKilledBetween: the connection dies between two files. The error tells
// them apart, and another push makes both true.
func TestKilledBetween(t *testing.T) {
	eachSpeaker(t, nil, func(t *testing.T, h host) {
		dir := t.TempDir()
		a, b := newKey(t, dir+"/a.key"), newKey(t, dir+"/b.key")
		results, err := push.Host(t.Context(), cutter{h.Client("shale")}, "shale", []push.File{a.File, b.File})
		fails(t, err, fmt.Sprintf(`lost host "shale": not certain: %s; certain: %s`, b.Path, a.Path))
		if actions(results) != "installed" {
			t.Errorf("%+v", results)
		}
		settle(t, dir)
		a.inPlace(t)
		_, err = h.push(t, a.forbidden(), b.File)
		must(t, err)
		b.inPlace(t)
	})
}

// settle waits for a host that lost its connection to end what it was doing.
func settle(t testing.TB, dir string) {
	for range 500 {
		if left, _ := filepath.Glob(dir + "/.wgkeys.*"); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a temporary file stays")
}

// TestInheritedEnvironment: variables and options that a login brings along
// must not show the key or hand it on.
func TestInheritedEnvironment(t *testing.T) {
	c := asShell("/bin/bash")
	c.Lines = []string{"SetEnv key=outside path=outside tmp=/etc/passwd SHELLOPTS=xtrace:allexport LC_ALL=de_DE.UTF-8"}
	h := newHost(t, "bash", c)
	client := h.Client("shale")
	var stderr bytes.Buffer
	client.Stderr = &stderr
	h.lines = &recorder{Runner: client}
	key := newKey(t, t.TempDir()+"/wg0.key")
	_, err := h.push(t, key.File)
	must(t, err)
	key.inPlace(t)
	if line := strings.TrimSpace(string(key.text)); strings.Contains(stderr.String()+h.lines.said.String(), line) {
		t.Error("the key came back")
	}
}

// A scripted host says its lines, then nothing, until it is stopped.
type scripted struct {
	lines string
	reads bool // it also reads what it is sent
}

func (s scripted) Run(ctx context.Context, _ string, in io.Reader, out io.Writer) error {
	if s.reads {
		go io.Copy(io.Discard, in)
	}
	io.WriteString(out, s.lines)
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestSilent: a host that greets and then says and reads nothing is given up.
func TestSilent(t *testing.T) {
	key := newKey(t, "/etc/wireguard/wg0.key")
	for name, lines := range map[string]string{
		"before the answer":  "wgkeys 1 plain\n",
		"before the outcome": "wgkeys 1 plain\nnone\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := push.Host(t.Context(), scripted{lines: lines}, "shale", []push.File{key.File})
			fails(t, err, `lost host "shale": `)
			fails(t, err, `it stopped answering`)
			if d := time.Since(start); d > 5*time.Minute {
				t.Errorf("%s: took %v", name, d)
			}
		})
	}
}

// TestHostile: what a host says is bounded, harmless for a terminal, and no way
// to make the program repeat a key.
func TestHostile(t *testing.T) {
	key := newKey(t, "/etc/wireguard/wg0.key")
	line := strings.TrimSpace(string(key.text))
	for name, test := range map[string]struct{ lines, want string }{
		"long line":     {"wgkeys 1 plain\n" + strings.Repeat("x", 1<<20), "it says too much in one line"},
		"noise":         {strings.Repeat("noise\n", 1<<16), "it said \"noise\""},
		"escape":        {"wgkeys 1 plain\ndeny \x1b[2J\u202e\x07\n", "?[2J??"},
		"no answer":     {"wgkeys 1 plain\nhave everything\n", "is no answer of the protocol"},
		"wrong key":     {"wgkeys 1 plain\nnone\ndone " + newKey(t, "/").Want + "\n", "another key is there now: (withheld)"},
		"echo":          {"wgkeys 1 plain\nnone\nfail sh: " + line + ": not found\n", "sh: (withheld): not found"},
		"echo in parts": {"wgkeys 1 plain\nnone\n" + line + "\n", "\"(withheld)\" is no answer"},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, err := push.Host(t.Context(), scripted{test.lines, true}, "shale", []push.File{key.File})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got %v, want %q", name, err, test.want)
			} else if said := err.Error(); strings.ContainsFunc(said, unprintable) || strings.Contains(said, line) ||
				len(said) > 1000 {
				t.Errorf("%s: %q", name, said)
			}
		})
	}
}

func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// TestNoSSH: where ssh itself cannot be run, that is the error, and not the end of a
// connection that never was.
func TestNoSSH(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := newKey(t, filepath.Join(t.TempDir(), "wg0.key"))
	_, err := push.Host(t.Context(), &ssh.Client{Host: "shale"}, "shale", []push.File{f.forbidden()})
	if err == nil || !strings.Contains(err.Error(), `cannot run "ssh": there is no such program here`) {
		t.Errorf("%v", err)
	}
}
