package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// The demo shows the whole job, and leaves nothing, also where it is interrupted.
func TestLabDemo(t *testing.T) {
	labtest.Require(t, labtest.Programs...)
	m := newMachine(t)
	before := m.state()
	cmd := m.command("wgkeys", "demo")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	took := time.Since(begin)
	t.Logf("%.1f s", took.Seconds())
	for _, want := range []string{"3 received", "proto ra", "basalt: no difference in ", "shale: no difference in "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not show %q:\n%s", want, out.String())
		}
	}
	readmeShows(t, out.String())
	if diff := demo.LineDiff(before, m.state()); diff != "" {
		t.Errorf("it left on this machine:\n%s", diff)
	}

	// Ten times slower it need not be interrupted ten times later.
	moments := int64(min(took, 5*time.Second))
	for range 3 {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			m.interruptDemo(sig, time.Duration(rand.Int64N(moments)))
			if diff := demo.LineDiff(before, m.state()); diff != "" {
				t.Errorf("%v left on this machine:\n%s", sig, diff)
			}
		}
	}
}

// readmeShows: each step that the demo takes is in the README's session, but for those
// of forwarding, which are others on other kernels.
func readmeShows(t *testing.T, demo string) {
	text, err := os.ReadFile("doc/start.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, steps := publicKey().ReplaceAllString(string(text), "KEY"), 0
	for line := range strings.Lines(publicKey().ReplaceAllString(demo, "KEY")) {
		command, _, step := strings.Cut(line, "  # ")
		program, _, _ := strings.Cut(command, " ")
		if !step || !slices.Contains([]string{"ip", "wg", "nft", "sysctl"}, program) ||
			strings.Contains(command, "net.ipv6.") {
			continue
		}
		steps++
		if !strings.Contains(readme, "    "+line) {
			t.Errorf("the README does not show the step\n%s", line)
		}
	}
	if steps < 20 {
		t.Errorf("the demo has %d steps:\n%s", steps, demo)
	}
}

// A demoMachine is where the demo runs: a namespace for mounts and one for the network, in
// which nobody else makes anything meanwhile.
type demoMachine struct {
	*testing.T
	pid int
}

func newMachine(t *testing.T) *demoMachine {
	t.Helper()
	keeper := exec.CommandContext(t.Context(), "sh", "-c", "mount -t tmpfs tmpfs /run && echo made && exec cat")
	keeper.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	in, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		keeper.Wait()
	})
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "made\n" {
		t.Fatalf("%q, %v", said, err)
	}
	return &demoMachine{t, keeper.Process.Pid}
}

// command is a program there.
func (m *demoMachine) command(argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.pid), "-m", "-n", "--"}, argv...)...)
}

// interruptDemo interrupts a demo and waits until all that was in its hosts'
// namespaces is gone.
func (m *demoMachine) interruptDemo(sig syscall.Signal, after time.Duration) {
	t := m.T
	t.Helper()
	cmd := m.command("wgkeys", "demo")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	spaces := namespacesBelow(cmd.Process.Pid, m.pid)
	cmd.Process.Signal(sig)
	err := cmd.Wait()
	ended := ticks(t)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("%v: %v", sig, err)
	}
	var left []string
	if lab.Until(t.Context(), "the hosts to be gone", func(context.Context) (bool, error) {
		left = processesIn(spaces, ended)
		return len(left) == 0, nil
	}) != nil {
		t.Errorf("%v after %v left processes:\n%s", sig, after, strings.Join(left, "\n"))
	}
	t.Logf("%v after %.2f s: %d namespaces, %v", sig, after.Seconds(), len(spaces), err)
}

// namespacesBelow are the namespaces of a process's children that are not those of the machine.
func namespacesBelow(pid, machine int) []string {
	var found []string
	var children []byte
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range threads {
		more, _ := os.ReadFile(path)
		children = append(append(children, ' '), more...)
	}
	for child := range strings.FieldsSeq(string(children)) {
		for _, kind := range []string{"net", "mnt", "pid"} {
			own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", machine, kind))
			ns, err := os.Readlink("/proc/" + child + "/ns/" + kind)
			if err == nil && ns != own && !slices.Contains(found, ns) {
				found = append(found, ns)
			}
		}
	}
	return found
}

// ticks is the time since the boot in units of proc_pid_stat(5): 100 are a second.
func ticks(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1e7
}

// startedAt is when a process was started, in [ticks]: field 22 of proc_pid_stat(5).
func startedAt(dir string) int64 {
	stat, _ := os.ReadFile(dir + "/stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	at, _ := strconv.ParseInt(fields[19], 10, 64)
	return at
}

// processesIn are those in one of the namespaces, dead ones that nobody has
// waited for aside: those have none. The kernel gives the number of a namespace that
// is gone to the next one: who was started after the end is in somebody else's.
func processesIn(spaces []string, end int64) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, kind := range []string{"net", "mnt", "pid"} {
			if ns, err := os.Readlink(dir + "/ns/" + kind); err == nil && slices.Contains(spaces, ns) && startedAt(dir) <= end {
				line, _ := os.ReadFile(dir + "/cmdline")
				found = append(found, dir+" "+strings.ReplaceAll(string(line), "\x00", " "))
				break
			}
		}
	}
	return found
}

// state is what a laboratory could leave there.
func (m *demoMachine) state() string {
	m.Helper()
	text, err := m.command("sh", "-c", "cat /proc/self/mountinfo; ip -br link; ls -d /run/netns/* /run/wgkeys* /run/wgkeys/* "+
		"/var/run/wireguard* /var/run/wireguard/* /etc/wireguard/* /etc/wgkeys/* /usr/local/bin/wgkeys /root/net "+
		"/root/wg0.toml 2>/dev/null; true").Output()
	if err != nil {
		m.Fatal(err)
	}
	return string(text)
}
