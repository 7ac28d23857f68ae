package ssh_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wgkeys/deploy/ssh/ptytest"
)

// A person sits at a terminal on which another process runs.
type person struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	out    *os.File
	shown  string // since the last answer
}

// startPerson runs TestOnTerminal over the servers of some folders: a test is at no terminal, so a
// process of its own is.
func startPerson(t *testing.T, env []string, dirs ...string) *person {
	t.Helper()
	master, slave := ptytest.Open(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, master: master, out: r, cmd: exec.Command(os.Args[0], "-test.run=^TestOnTerminal$")}
	p.cmd.Env = append(append(os.Environ(), "ON_TERMINAL="+strings.Join(dirs, " ")), env...)
	p.cmd.Stdin, p.cmd.Stdout = slave, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	w.Close()
	return p
}

// waitFor waits until the words are shown, one after the other, and returns what was shown since
// the last answer.
func (p *person) waitFor(words ...string) string {
	p.t.Helper()
	for !inOrder(p.shown, words) {
		p.read(time.Minute)
	}
	return p.shown
}

func inOrder(text string, words []string) bool {
	for _, w := range words {
		_, rest, found := strings.Cut(text, w)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

// read takes in what is shown, and reports false if that was nothing for so long.
func (p *person) read(patience time.Duration) bool {
	p.t.Helper()
	b := make([]byte, 4096)
	p.master.SetReadDeadline(time.Now().Add(patience))
	n, err := p.master.Read(b)
	p.shown += string(b[:n])
	if err != nil && !os.IsTimeout(err) || err != nil && patience >= time.Minute {
		p.t.Fatalf("shown: %q, %v", p.shown, err)
	}
	return n > 0
}

// noOther fails if there are more questions than so many a moment later.
func (p *person) noOther(question string, most int) {
	p.t.Helper()
	for p.read(time.Second) {
	}
	if n := strings.Count(p.shown, question); n > most {
		p.t.Fatalf("%d questions at once: %q", n, p.shown)
	}
}

func (p *person) answer(line string) {
	p.shown = ""
	if line != "\x03" {
		line += "\n"
	}
	io.WriteString(p.master, line)
}

// end returns what the process said, once it has ended.
func (p *person) end() string {
	p.t.Helper()
	p.out.SetReadDeadline(time.Now().Add(time.Minute))
	said, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatalf("said: %q, shown: %q, %v", said, p.shown, err)
	}
	p.cmd.Wait()
	for p.read(100 * time.Millisecond) {
	}
	return string(said)
}
