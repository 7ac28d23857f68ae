package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

const holderName = "wgkeys-lab-holder"

// hold is the main of a process that makes a laboratory with everything that can be in one,
// prints the process IDs of its hosts' inits, and waits to be killed.
func hold() {
	pids, err := makeAll(context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(pids)
	select {}
}

func makeAll(ctx context.Context) (pids string, err error) {
	l, err := lab.New()
	if err != nil {
		return "", err
	}
	shale, err := l.Host("leave-shale")
	if err != nil {
		return "", err
	}
	basalt, err := l.Host("leave-basalt")
	if err != nil {
		return "", err
	}
	if err := l.Link(shale, "leave0", basalt, "leave1"); err != nil {
		return "", err
	}
	if err := shale.StartSSHD(ctx); err != nil {
		return "", err
	}
	if _, err := shale.Advertise("leave0", lab.Advertisement{Prefix: netip.MustParsePrefix("2001:db8::/64")}); err != nil {
		return "", err
	}
	if err := basalt.WriteFile("/etc/wgkeys/leave", []byte("trace\n"), 0o644); err != nil {
		return "", err
	}
	if _, err := basalt.Run(ctx, "sh", "-c", "setsid sleep 4321 >/dev/null 2>&1 &"); err != nil {
		return "", err
	}
	return fmt.Sprint(shale.PID(), " ", basalt.PID()), basalt.Command(ctx, "sleep", "4322").Start()
}

// namespaces returns the namespaces of hosts, given by the process IDs of their inits. It
// holds them open until the test ends, because the kernel reuses the number of one that is
// gone, maybe for another test.
func namespaces(t *testing.T, pids ...string) map[string]bool {
	t.Helper()
	set := make(map[string]bool)
	for _, pid := range pids {
		for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
			path := "/proc/" + pid + "/ns/" + kind
			held, err := os.Open(path)
			must(t, err)
			t.Cleanup(func() { held.Close() })
			ns, err := os.Readlink(path)
			must(t, err)
			set[ns] = true
		}
	}
	return set
}

// traces returns what there is of a laboratory: processes in its namespaces or about to
// enter them, including zombies, and mounts, interfaces and files with its names.
func traces(t *testing.T, of map[string]bool) (list []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range processes {
		line, _ := os.ReadFile(dir + "/cmdline")
		words := strings.ReplaceAll(string(line), "\x00", " ")
		if strings.Contains(words, "leave-") || strings.Contains(words, "sleep 432") {
			list = append(list, "process "+words)
		}
		for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
			if ns, err := os.Readlink(dir + "/ns/" + kind); err == nil && of[ns] {
				list = append(list, "namespace "+ns+" of "+words)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "leave") || strings.Contains(line, "lowerdir=/etc,") {
			list = append(list, "mount "+line)
		}
	}
	for _, pattern := range []string{"/sys/class/net/leave*", "/etc/wgkeys/leave", "/run/netns/leave*", "/tmp/*leave-*",
		"/run/*leave*"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		list = append(list, files...)
	}
	return list
}

// Nothing of a laboratory outlives its owner, even if that was killed and could not clean
// up.
func TestKilledOwnerLeavesNothing(t *testing.T) {
	labtest.Require(t, "sshd", "ssh-keygen")
	owner := &exec.Cmd{Path: "/proc/self/exe", Args: []string{holderName, "hold"}, Stderr: os.Stderr}
	out, err := owner.StdoutPipe()
	must(t, err)
	must(t, owner.Start())
	t.Cleanup(func() { owner.Process.Kill() })
	said, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	pids := strings.Fields(said)
	if len(pids) != 2 {
		t.Fatalf("the owner said %q", said)
	}
	ours := namespaces(t, pids...)

	// Its absence proves nothing unless it was there before.
	var during string
	for _, kind := range []string{"process wgkeys-lab-host leave-shale", "process wgkeys-lab-host leave-basalt",
		"process sleep 4321", "process sleep 4322", "of sshd: ", "namespace net:", "namespace mnt:"} {
		must(t, lab.Until(t.Context(), kind, func(context.Context) (bool, error) {
			during = strings.Join(traces(t, ours), "\n")
			return strings.Contains(during, kind), nil
		}))
	}
	must(t, owner.Process.Kill())
	owner.Wait()
	start := time.Now()
	var left []string
	if lab.Until(t.Context(), "all to be gone", func(context.Context) (bool, error) {
		left = traces(t, ours)
		return len(left) == 0, nil
	}) != nil {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	t.Logf("%d traces gone %v after the kill", strings.Count(during, "\n")+1, time.Since(start).Round(time.Millisecond))
}

// When Close returns, no process of the laboratory is left.
func TestCloseLeavesNothing(t *testing.T) {
	labtest.Require(t)
	l, err := lab.New()
	must(t, err)
	shale, err := l.Host("shale")
	must(t, err)
	ours := namespaces(t, strconv.Itoa(shale.PID()))
	run(t, shale, "sh", "-c", "setsid sleep 4323 >/dev/null 2>&1 &")
	l.Close()
	for _, trace := range traces(t, ours) {
		if strings.HasPrefix(trace, "namespace") || strings.Contains(trace, "4323") {
			t.Errorf("left behind: %s", trace)
		}
	}
}
