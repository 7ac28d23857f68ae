package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	laboratory "wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/ssh/ptytest"
	"wgkeys/deploy/ssh/sshtest"
)

// A terminal is what a person sits at: a pseudo-terminal, with one command in the
// foreground.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	ended  chan struct{}

	mu     sync.Mutex
	screen strings.Builder // all that was shown
}

// onTerminal starts a command that has a terminal and nothing else.
func onTerminal(t *testing.T, name string, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	x.master, x.slave = ptytest.Open(t)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = x.slave, x.slave, x.slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := x.master.Read(b)
			x.mu.Lock()
			x.screen.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		x.cmd.Wait()
		close(x.ended)
	}()
	t.Cleanup(func() {
		x.cmd.Process.Kill()
		<-x.ended
		x.slave.Close()
		x.master.Close()
	})
	return x
}

// open makes the terminal (pts(4)).
func (x *terminal) shown() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

// said is what was shown, with the lines whole that were broken between words.
func (x *terminal) said() string { return strings.ReplaceAll(x.shown(), "\r\n        ", " ") }

// shows waits until text is on the screen.
func (x *terminal) shows(text string) {
	x.t.Helper()
	x.until(text, func() bool { return strings.Contains(x.shown(), text) })
}

// expect waits until text is on the screen, and whoever asks has turned the echo
// off.
func (x *terminal) expect(text string) {
	x.t.Helper()
	x.until(text, func() bool { return strings.Contains(x.shown(), text) && !x.echoes() })
}

func (x *terminal) until(text string, is func() bool) {
	x.t.Helper()
	for end := time.Now().Add(labtest.Patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%q is not asked for:\n%s", text, x.shown())
		}
	}
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// wait waits for the end of the command, and of what it shows.
func (x *terminal) wait() (code int) {
	x.t.Helper()
	select {
	case <-x.ended:
	case <-time.After(60 * time.Second):
		x.t.Fatalf("it does not end:\n%s", x.shown())
	}
	for last := -1; last != len(x.shown()); time.Sleep(50 * time.Millisecond) {
		last = len(x.shown())
	}
	return x.cmd.ProcessState.ExitCode()
}

// echoes reports whether the terminal shows what is typed.
func (x *terminal) echoes() bool {
	x.t.Helper()
	state, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

const passphrase = "correct horse battery"

// A lockedVault is a repository whose one identity is under a passphrase, with
// three hosts behind an ssh that leads to folders here.
type lockedVault struct {
	*testing.T
	dir, net, identity string
}

func newLockedVault(t *testing.T) *lockedVault {
	t.Helper()
	laboratory.Programs(t, "age", "age-keygen", "wg", "unshare")
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "none"))
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	v := &lockedVault{t, dir, filepath.Join(dir, "net"), filepath.Join(dir, "locked.txt")}
	plain := filepath.Join(dir, "plain.txt")
	v.must("age-keygen", "-o", plain)
	v.must("wgkeys", "init", "-q", "--classic", "-i", plain, v.net)
	var tunnel strings.Builder
	for i, host := range []string{"basalt", "shale", "slate"} {
		fmt.Fprintf(&tunnel, "[hosts.%s]\nssh = \"root@%[1]s\"\nendpoint = \"192.0.2.%d\"\naddresses = [\"10.0.0.%[2]d/32\"]\nprivate_key_file = %q\n", host, i+1, v.key(host))
	}
	v.write("net/tunnels/wg0.toml", tunnel.String(), 0o644)
	v.write("on/README", "", 0o644)
	v.write("bin/ssh", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n[ \"$(id -u)\" = 0 ] && root= || root=\"unshare -r\"\nexec $root sh -c \"$3\"\n", 0o755)
	v.must("wgkeys", "gen", "-q", "-C", v.net, "basalt", "shale", "slate")
	v.lock(plain)
	return v
}

func (v *lockedVault) key(host string) string { return filepath.Join(v.dir, "on", host+".key") }

func (v *lockedVault) must(name string, args ...string) string {
	v.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		v.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (v *lockedVault) write(name, text string, mode os.FileMode) {
	v.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		v.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		v.Fatal(err)
	}
}

// lock puts an identity under a passphrase, as its owner would: stock age asks for
// it on a terminal.
func (v *lockedVault) lock(plain string) {
	v.Helper()
	x := onTerminal(v.T, "age", "-p", "-o", v.identity, plain)
	x.expect("Enter passphrase")
	x.types(passphrase + "\n")
	x.expect("Confirm passphrase")
	x.types(passphrase + "\n")
	if code := x.wait(); code != 0 {
		v.Fatalf("age -p: exit %d\n%s", code, x.shown())
	}
	if err := errors.Join(os.Remove(plain), os.Chmod(v.identity, 0o600)); err != nil {
		v.Fatal(err)
	}
}

// push pushes all hosts, with nobody to ask but the person at the terminal.
func (v *lockedVault) push() *terminal {
	v.Helper()
	x := onTerminal(v.T, "wgkeys", "push", "--all", "-C", v.net, "-i", v.identity)
	x.expect("wgkeys: passphrase of " + v.identity + ": ")
	return x
}

// asked fails where the passphrase was not asked for once, or was shown.
func (v *lockedVault) asked(x *terminal) {
	v.Helper()
	if n := strings.Count(x.shown(), "passphrase of "); n != 1 {
		v.Errorf("it was asked for %d times:\n%s", n, x.shown())
	}
	if strings.Contains(x.shown(), "horse") {
		v.Errorf("the passphrase is shown:\n%s", x.shown())
	}
	if !x.echoes() {
		v.Error("the terminal is left without echo")
	}
}

func (v *lockedVault) installed() int {
	v.Helper()
	return len(labtest.Glob(v.T, v.dir, "on/*.key"))
}

// TestTerminal: a passphrase is asked for once, on the terminal, and not shown,
// whatever the answer is; a bar shows how far a long rekey is, and goes.
func TestTerminal(t *testing.T) {
	v := newLockedVault(t)
	t.Run("Interrupted", func(t *testing.T) {
		x := v.with(t).push()
		x.types("corr\x03")
		if code := x.wait(); code != ui.ExitFailed || !strings.Contains(x.said(), "error: interrupted") {
			t.Errorf("exit %d\n%s", code, x.shown())
		}
		v.with(t).asked(x)
		if n := v.installed(); n != 0 {
			t.Errorf("%d keys are installed", n)
		}
	})
	t.Run("Wrong", func(t *testing.T) {
		x := v.with(t).push()
		x.types("wrong horse\n")
		if code := x.wait(); code != ui.ExitFailed || strings.Count(x.said(), "the passphrase is wrong") == 0 {
			t.Errorf("exit %d\n%s", code, x.shown())
		}
		v.with(t).asked(x)
		if n := v.installed(); n != 0 {
			t.Errorf("%d keys are installed", n)
		}
	})
	t.Run("Push", func(t *testing.T) {
		x := v.with(t).push()
		x.types(passphrase + "\n")
		if code := x.wait(); code != ui.ExitDone || v.installed() != 3 || strings.Count(x.shown(), "installed") != 3 {
			t.Errorf("exit %d, %d keys\n%s", code, v.installed(), x.shown())
		}
		v.with(t).asked(x)
	})
	t.Run("Question", func(t *testing.T) {
		x := onTerminal(t, "wgkeys", "rotate", "slate", "-C", v.net, "-i", v.identity)
		x.shows("rotate it? [y/N] ")
		x.types("\x03")
		if code := x.wait(); code != ui.ExitFailed || !strings.Contains(x.shown(), "interrupted") {
			t.Errorf("exit %d\n%s", code, x.shown())
		}
	})
	t.Run("NothingToDo", func(t *testing.T) {
		x := onTerminal(t, "wgkeys", "push", "--all", "-C", v.net, "-i", v.identity)
		if code := x.wait(); code != ui.ExitDone || strings.Contains(x.shown(), "passphrase") {
			t.Errorf("exit %d\n%s", code, x.shown())
		}
	})
	t.Run("Bar", func(t *testing.T) { v.with(t).bar() })
}

func (v *lockedVault) with(t *testing.T) *lockedVault {
	return &lockedVault{t, v.dir, v.net, v.identity}
}

// bar encrypts the vault again, with a person who takes his time: a bar is for
// work of more than two seconds.
func (v *lockedVault) bar() {
	bob := filepath.Join(v.dir, "bob.txt")
	v.must("age-keygen", "-o", bob)
	list, err := os.ReadFile(filepath.Join(v.net, "vault/recipients.txt"))
	if err != nil {
		v.Fatal(err)
	}
	v.write("net/vault/recipients.txt", string(list)+v.must("age-keygen", "-y", bob), 0o644)
	x := onTerminal(v.T, "wgkeys", "rekey", "-C", v.net, "-i", v.identity)
	x.expect("wgkeys: passphrase of ")
	time.Sleep(2 * time.Second)
	x.types(passphrase + "\n")
	if code := x.wait(); code != ui.ExitDone {
		v.Errorf("exit %d\n%s", code, x.shown())
	}
	v.asked(x)
	drawn := strings.LastIndex(x.shown(), "wgkeys: encrypting again")
	result := strings.Index(x.shown(), "basalt wg0.key encrypted again")
	if drawn < 0 || result < drawn {
		v.Fatalf("there is no bar before the result:\n%q", x.shown())
	}
	line := x.shown()[drawn:result]
	if last := line[strings.LastIndex(line, "\r")+1:]; strings.TrimSpace(strings.ReplaceAll(last, "\x1b[K", "")) != "" {
		v.Errorf("the bar stays on the screen: %q", line)
	}
}

// TestTerminalInterruptsSeveral: at Ctrl-C the rotation under way goes on, and its ssh with it;
// at the second signal no ssh stays behind.
func TestTerminalInterruptsSeveral(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand echo wgkeys begins; exec sleep 300"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s, "beta": s})
	f.must("gen", "-q", "alpha", "beta")
	for verb, does := range map[string]string{
		"rotate -y": "the one under way is finished", "push": "those under way are finished",
		"plan": "", "apply": "those under way are finished",
	} {
		t.Run(verb, func(t *testing.T) {
			args := append([]string{"-c", `trap : INT; "$@"; echo "status $?"; sleep 300`, "sh", "env", "-C", f.dir,
				"PATH=" + f.bin + ":" + os.Getenv("PATH"), "HOME=" + f.bin, "wgkeys"}, strings.Fields(verb)...)
			x := onTerminal(t, "sh", append(args, "--timeout", "100s", "alpha", "beta")...) // whose shell stays
			x.until("all hosts to be asked", func() bool { return len(sshOf(f)) >= 2 })
			before := sshOf(f)
			x.types("\x03")
			if does != "" {
				x.shows("a second signal ends at once")
				if !strings.Contains(x.said(), does) || !slices.Equal(sshOf(f), before) {
					t.Errorf("after the first signal %d of %d run: %s", len(sshOf(f)), len(before), x.shown())
				}
			}
			x.until("the end", func() bool {
				ended := strings.Contains(x.shown(), "status 1")
				if !ended { // a second signal within a second is taken for an echo of the first
					x.types("\x03")
					time.Sleep(300 * time.Millisecond)
				}
				return ended
			})
			x.until("no ssh to be left", func() bool { return len(sshOf(f)) == 0 })
		})
	}
}

// sshOf returns the ssh processes of a fleet.
func sshOf(f *fleet) []string {
	out, _ := exec.Command("pgrep", "-f", "^[^ ]*ssh -F "+f.bin+"/config").Output()
	return strings.Fields(string(out))
}
