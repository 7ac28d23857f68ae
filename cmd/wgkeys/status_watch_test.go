package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh/sshtest"
)

// A running is a command that runs.
type running struct {
	*fleet
	cmd   *exec.Cmd
	looks *bufio.Reader
	out   io.Closer
	ended chan error

	mu   sync.Mutex
	said bytes.Buffer
}

func (w *running) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(p)
}

// start begins one.
func (f *fleet) start(args ...string) *running {
	f.Helper()
	w := &running{fleet: f, cmd: exec.CommandContext(f.Context(), "wgkeys", args...)}
	w.cmd.Dir, w.cmd.Stderr = f.dir, w
	w.cmd.Env = append(os.Environ(), "PATH="+f.bin+":"+os.Getenv("PATH"), "HOME="+f.bin, "XDG_CACHE_HOME=")
	r, out, err := os.Pipe()
	if err != nil {
		f.Fatal(err)
	}
	w.cmd.Stdout, w.looks, w.out = out, bufio.NewReaderSize(r, 1<<20), r
	if err := w.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	out.Close()
	w.ended = make(chan error, 1)
	go func() { w.ended <- w.cmd.Wait() }()
	return w
}

func (w *running) line() string {
	w.Helper()
	line, err := w.looks.ReadString('\n')
	if err != nil {
		w.Fatalf("the watch ended: %v\n%s", err, &w.said)
	}
	return line
}

// TestStatusWatchGoesOn: a tunnel file in the middle of an edit is said once, and the looks go on
// once it can be read; when nobody reads them any longer they end.
func TestStatusWatchGoesOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t, twoHosts, nil)
	f.must("gen", "-q", "alpha", "beta")
	w := f.start("status", "--watch", "--every", "1s", "--json")
	file := filepath.Join(f.dir, "tunnels", "wg0.toml")
	for round := 1; round <= 2; round++ {
		if line := w.line(); !strings.Contains(line, `"host":"alpha"`) {
			t.Errorf("a look is %q", line)
		}
		f.write(file, twoHosts+"[hosts.gam")
		for missed := 0; missed < round; {
			w.mu.Lock()
			missed = strings.Count(w.said.String(), `warning: invalid tunnel file "tunnels/wg0.toml:`)
			w.mu.Unlock()
			select {
			case err := <-w.ended:
				t.Fatalf("the watch ends with %v\n%s", err, &w.said)
			case <-time.After(10 * time.Millisecond):
			}
		}
		f.write(file, twoHosts)
	}
	w.line()
	w.out.Close()
	if err := <-w.ended; err != nil {
		t.Errorf("the watch ends with %v\n%s", err, &w.said)
	}
}

// TestStatusWatchBegins: what is wrong at the first look is wrong with the command.
func TestStatusWatchBegins(t *testing.T) {
	t.Parallel()
	f := newFleet(t, twoHosts, nil)
	f.must("gen", "-q", "alpha", "beta")
	for _, args := range []string{"nobody", "--prometheus -o " + f.bin + "/none/x.prom", "-t wg7"} {
		if code, _, said := f.run(append([]string{"status", "--watch"}, strings.Fields(args)...)...); code == 0 {
			t.Errorf("%s goes on: %s", args, said)
		}
	}
}

// TestStatusLookInterrupted: a verb that leaves nothing behind says that it does not wait, and does
// not.
func TestStatusLookInterrupted(t *testing.T) {
	t.Parallel()
	begun := filepath.Join(t.TempDir(), "begun")
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"ForceCommand touch " + begun + "; exec sleep 100"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
	f.must("gen", "-q", "alpha", "beta")
	w := f.start("plan", "-j", "1", "alpha", "beta")
	for _, err := os.Stat(begun); err != nil; _, err = os.Stat(begun) {
		select {
		case err := <-w.ended:
			t.Fatalf("it ends with %v\n%s", err, &w.said)
		case <-time.After(10 * time.Millisecond):
		}
	}
	w.cmd.Process.Signal(os.Interrupt)
	<-w.ended
	for _, want := range []string{"those under way are not waited for\n", "1 not begun: beta\n",
		"wgkeys plan --jobs 1 alpha beta\n"} {
		if !strings.Contains(w.said.String(), want) {
			t.Errorf("no %q in\n%s", want, &w.said)
		}
	}
	if code := w.cmd.ProcessState.ExitCode(); code != ui.ExitFailed {
		t.Errorf("exits %d", code)
	}
}
