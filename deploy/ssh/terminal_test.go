package ssh_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
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
	c.Terminal = ssh.NewTerminal(func() func() {
		t.Error("ssh was to ask")
		return func() {}
	}, t.Context().Done())
	if err := c.Run(t.Context(), "true", nil, nil); err == nil {
		t.Error("no error")
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
	terminal := ssh.NewTerminal(func() func() { return func() {} }, ctx.Done())
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
