package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wgkeys/deploy/ssh"
	"wgkeys/deploy/ssh/sshtest"
)

// TestAsksOneByOne: each of three hosts asks whether its key is right, and for a passphrase of
// its own: the answers reach the host that asked, and only one question is ever open.
func TestAsksOneByOne(t *testing.T) {
	t.Parallel()
	var dirs []string
	passphrase := map[string]string{} // by identity file
	for i := range 3 {
		s := sshtest.Start(t, sshtest.Config{})
		word := fmt.Sprintf("phrase %d", i)
		setPassphrase(t, s.Dir, word)
		unknownHost(t, s.Dir)
		passphrase[filepath.Join(s.Dir, "id")] = word
		dirs = append(dirs, s.Dir)
	}
	p := startPerson(t, nil, dirs...)
	for range dirs {
		p.waitFor("(yes/no/[fingerprint])? ")
		p.noOther("authenticity", 1)
		p.answer("yes")
		question := p.waitFor("passphrase for key '", "': ")
		_, file, _ := strings.Cut(question, "for key '")
		file, _, _ = strings.Cut(file, "'")
		p.noOther("authenticity", 0)
		p.answer(passphrase[file])
	}
	said := p.end()
	for i := range dirs {
		if !strings.Contains(said, fmt.Sprintf("shale%d in time", i)) {
			t.Errorf("shale%d did not answer: %q, shown last: %q", i, said, p.shown)
		}
		if !strings.Contains(said, fmt.Sprintf("shale%d: ssh may ask: (yielded: true)", i)) {
			t.Errorf("not said that ssh asks for shale%d: %q", i, said)
		}
	}
}

// TestAsksOnce: where the first answer puts the key into an agent the other hosts need no
// question.
func TestAsksOnce(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "ssh-agent")
	socket := startAgent(t)
	var dirs []string
	for range 3 {
		s := sshtest.Start(t, sshtest.Config{})
		dirs = append(dirs, s.Dir)
	}
	setPassphrase(t, dirs[0], "long ago")
	for _, dir := range dirs {
		for to, from := range map[string]string{"id": "id", "id.pub": "id.pub", "authorized_keys": "id.pub"} {
			change(t, filepath.Join(dir, to), func(string) string { return read(t, filepath.Join(dirs[0], from)) })
		}
		change(t, filepath.Join(dir, "ssh_config"), func(c string) string { return c + "AddKeysToAgent yes\n" })
	}
	p := startPerson(t, []string{"SSH_AUTH_SOCK=" + socket}, dirs...)
	p.waitFor("passphrase for key")
	p.answer("long ago")
	said := p.end()
	if n := strings.Count(said, "in time"); n != 3 || strings.Contains(p.shown, "passphrase") {
		t.Errorf("%d hosts answered: %q, shown after the answer: %q", n, said, p.shown)
	}
}

// TestAsksForEach: the same passphrase is asked for each of three hosts, and once it is said what
// makes that needless.
func TestAsksForEach(t *testing.T) {
	t.Parallel()
	var dirs []string
	for range 3 {
		s := sshtest.Start(t, sshtest.Config{})
		setPassphrase(t, s.Dir, "again")
		dirs = append(dirs, s.Dir)
	}
	p := startPerson(t, []string{"SSH_AUTH_SOCK="}, dirs...)
	for range dirs {
		p.waitFor("passphrase for key '", "': ")
		p.answer("again")
	}
	said := p.end()
	const hint = `hint: if it is the same passphrase for many hosts: Ctrl-C, then eval "$(ssh-agent)" && ssh-add, then the same command`
	if n := strings.Count(said, "in time"); n != 3 || strings.Count(said, hint) != 1 {
		t.Errorf("%d hosts answered: %q", n, said)
	}
	p = startPerson(t, nil, dirs[0])
	p.waitFor("passphrase for key '", "': ")
	p.answer("again")
	if said := p.end(); strings.Contains(said, "may ask") || !strings.Contains(said, "shale0 in time") {
		t.Errorf("a single host: %q", said)
	}
}

// TestMute: where nothing is asked any more a host that wants a passphrase is refused, and not
// tried again.
func TestMute(t *testing.T) {
	t.Parallel()
	s := sshtest.Start(t, sshtest.Config{})
	setPassphrase(t, s.Dir, "once")
	terminal := ssh.NewTerminal(ssh.UserInterface{Ended: t.Context().Done(), Yield: func() func() {
		t.Error("ssh was to ask")
		return func() {}
	}})
	terminal.Mute()
	run := func() error {
		c := s.Client("shale")
		c.Batch, c.Terminal = false, terminal
		return c.Run(t.Context(), "true", nil, nil)
	}
	first := run()
	if !errors.Is(first, ssh.ErrUnreachable) || !strings.Contains(first.Error(), "Permission denied") {
		t.Errorf("got %v", first)
	}
	s.Stop(t) // another attempt would have another error
	if again := run(); !errors.Is(again, first) {
		t.Errorf("the second time: %v", again)
	}
}

// TestAsksNoMore: after Ctrl-C at the first question the other hosts do not ask.
func TestAsksNoMore(t *testing.T) {
	t.Parallel()
	var dirs []string
	for range 3 {
		s := sshtest.Start(t, sshtest.Config{})
		unknownHost(t, s.Dir)
		dirs = append(dirs, s.Dir)
	}
	p := startPerson(t, nil, dirs...)
	p.waitFor("(yes/no/[fingerprint])? ")
	p.noOther("authenticity", 1) // a signal between the question and the reading of the answer is lost in ssh
	p.answer("\x03")
	said := p.end()
	if n := strings.Count(said, "Host key verification failed"); n != 3 || strings.Contains(p.shown, "authenticity") {
		t.Errorf("%d hosts were refused: %q, shown after Ctrl-C: %q", n, said, p.shown)
	}
}

// TestSaysWhatAKeyWants: that a hardware key is to be touched is said, whether ssh may ask or
// not, and on the terminal that nobody else uses.
func TestSaysWhatAKeyWants(t *testing.T) {
	t.Parallel()
	known, unknown := sshtest.Start(t, sshtest.Config{}), sshtest.Start(t, sshtest.Config{})
	unknownHost(t, unknown.Dir)
	path := "PATH=" + withHardwareKey(t) + ":" + os.Getenv("PATH")
	const said = "Confirm user presence for key ED25519-SK? (yielded: true)"

	p := startPerson(t, []string{path, "DISPLAY="}, known.Dir)
	if out := p.end(); !strings.Contains(out, "shale0: "+said+"\nshale0 in time") {
		t.Errorf("without a question: %q", out)
	}
	p = startPerson(t, []string{path, "DISPLAY="}, unknown.Dir)
	p.waitFor("(yes/no/[fingerprint])? ")
	p.answer("yes")
	if out := p.end(); strings.Count(out, "shale0: "+said+"\n") != 2 || !strings.Contains(out, "shale0 in time") {
		t.Errorf("with a question: %q", out)
	}
	p = startPerson(t, []string{path, "SSH_ASKPASS=/bin/false", "SSH_ASKPASS_REQUIRE=force"}, known.Dir)
	if out := p.end(); strings.Contains(out, "Confirm") || !strings.Contains(out, "shale0 in time") {
		t.Errorf("with another program for it: %q", out)
	}
}

// withHardwareKey returns a folder with an ssh that first says that a key is to be touched, as the
// real one does where its standard error is no terminal (notify_start in readpass.c).
func withHardwareKey(t *testing.T) string {
	t.Helper()
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := `#!/bin/sh
if [ -n "$DISPLAY$WAYLAND_DISPLAY" ] || [ "$SSH_ASKPASS_REQUIRE" = force ]; then
	SSH_ASKPASS_PROMPT=none "$SSH_ASKPASS" "Confirm user presence for key ED25519-SK$(printf '\033')" </dev/null >/dev/null &
	sleep 1
	kill $! && wait $!
fi
exec ` + real + ` "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMain makes the test binary the program of SSH_ASKPASS when ssh starts it.
func TestMain(m *testing.M) {
	if code, yes := ssh.Askpass(os.Args, os.Stderr); yes {
		os.Exit(code)
	}
	m.Run()
}

// TestChangedHostKeyAsksNothing: where another host key is known no question could help, so
// ssh is not started again.
func TestChangedHostKeyAsksNothing(t *testing.T) {
	t.Parallel()
	s, other := sshtest.Start(t, sshtest.Config{}), sshtest.Start(t, sshtest.Config{})
	change(t, filepath.Join(s.Dir, "known_hosts"), func(known string) string {
		place, _, _ := strings.Cut(known, " ")
		return place + " " + read(t, filepath.Join(other.Dir, "host.pub"))
	})
	c := s.Client("shale")
	c.Batch = false
	c.Terminal = ssh.NewTerminal(ssh.UserInterface{Ended: t.Context().Done(), Yield: func() func() {
		t.Error("ssh was to ask")
		return func() {}
	}})
	err := c.Run(t.Context(), "true", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "Host key verification failed") {
		t.Error(err)
	}
}

// TestOnTerminal is the process that has the terminal in the tests above: it asks all hosts at
// once.
func TestOnTerminal(t *testing.T) {
	dirs := strings.Fields(os.Getenv("ON_TERMINAL"))
	if len(dirs) == 0 {
		return // it is one part of other tests, which run it as a process of its own
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	yielded := atomic.Bool{}
	terminal := ssh.NewTerminal(ssh.UserInterface{
		Yield: func() func() {
			yielded.Store(true)
			return func() { yielded.Store(false) }
		},
		Print:   func(line string) { fmt.Printf("%s (yielded: %t)\n", line, yielded.Load()) },
		Askpass: os.Args[0],
		Ended:   ctx.Done(),
	})
	var group sync.WaitGroup
	for i, dir := range dirs {
		c := &ssh.Client{Host: fmt.Sprintf("shale%d", i), Args: []string{"-F", filepath.Join(dir, "ssh_config")},
			Limit: 5 * time.Second, Terminal: terminal, Uninterrupted: true}
		group.Go(func() {
			if err := c.Run(context.Background(), "echo "+c.Host+" in time", nil, os.Stdout); err != nil {
				fmt.Println(err)
			}
		})
	}
	group.Wait()
}

// setPassphrase gives the identity of a server's client a passphrase.
func setPassphrase(t *testing.T, dir, passphrase string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-N", passphrase, "-f",
		filepath.Join(dir, "id")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// unknownHost makes the client of a server ask whether its key is right.
func unknownHost(t *testing.T, dir string) {
	t.Helper()
	change(t, filepath.Join(dir, "known_hosts"), func(string) string { return "" })
	change(t, filepath.Join(dir, "ssh_config"), func(c string) string {
		return strings.Replace(c, "StrictHostKeyChecking yes", "StrictHostKeyChecking ask", 1)
	})
}

// startAgent starts an ssh-agent, and returns its socket.
func startAgent(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		agent.Process.Kill()
		agent.Wait()
	})
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("ssh-agent does not listen")
	return ""
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// change replaces the content of a file, and keeps its mode.
func change(t *testing.T, file string, by func(string) string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(by(read(t, file))), 0o600); err != nil {
		t.Fatal(err)
	}
}
