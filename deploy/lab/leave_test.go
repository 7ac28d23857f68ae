package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

const holderName = "wgkeys-lab-holder"

// hold is the main of a process that makes a laboratory with all that can be
// in one, and then waits to be killed.
func hold() {
	if err := makeAll(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("made")
	select {}
}

func makeAll(ctx context.Context) error {
	l, err := lab.New()
	if err != nil {
		return err
	}
	shale, err := l.Host("shale")
	if err != nil {
		return err
	}
	basalt, err := l.Host("basalt")
	if err != nil {
		return err
	}
	if err := l.Link(shale, "eth0", basalt, "eth0"); err != nil {
		return err
	}
	if err := shale.StartSSHD(ctx); err != nil {
		return err
	}
	if _, err := shale.Advertise("eth0", lab.Advertisement{Prefix: netip.MustParsePrefix("2001:db8::/64")}); err != nil {
		return err
	}
	if _, err := basalt.Run(ctx, "sh", "-c", "setsid sleep 4321 >/dev/null 2>&1 &"); err != nil {
		return err
	}
	return basalt.Command(ctx, "sleep", "4322").Start()
}

// machine is what a laboratory could leave behind: processes, namespaces,
// mounts, interfaces and files.
func machine(t *testing.T) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		line, _ := os.ReadFile(dir + "/cmdline")
		words := strings.ReplaceAll(string(line), "\x00", " ")
		if strings.HasPrefix(words, "wgkeys-lab-") || strings.HasPrefix(words, "sleep 432") || strings.HasPrefix(words, "nsenter ") {
			seen["process "+words] = true
		}
		for _, kind := range []string{"net", "mnt", "pid"} {
			if ns, err := os.Readlink(dir + "/ns/" + kind); err == nil {
				seen["namespace "+ns] = true
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		seen["mount "+line] = true
	}
	for _, pattern := range []string{"/sys/class/net/*", "/etc/*", "/run/*", "/run/netns/*", "/root/*", "/tmp/wgkeys*", "/usr/local/bin/*"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			seen["file "+f] = true
		}
	}
	return seen
}

// Nothing of a laboratory outlives its owner, even one that was killed and
// could not clean up.
func TestKilledOwnerLeavesNothing(t *testing.T) {
	labtest.Require(t, "sshd")
	before := machine(t)
	owner := &exec.Cmd{Path: "/proc/self/exe", Args: []string{holderName, "hold"}, Stderr: os.Stderr}
	out, err := owner.StdoutPipe()
	must(t, err)
	must(t, owner.Start())
	said, _ := bufio.NewReader(out).ReadString('\n')
	if said != "made\n" {
		owner.Process.Kill()
		t.Fatalf("the owner said %q", said)
	}
	// Each of these has to be seen first, or its absence would prove nothing.
	var during []string
	for _, kind := range []string{"process wgkeys-lab-host shale", "process wgkeys-lab-host basalt",
		"process sleep 4321", "process sleep 4322", "namespace net:", "namespace mnt:"} {
		err := lab.Until(t.Context(), kind, func(context.Context) (bool, error) {
			during = added(before, machine(t))
			return slices.ContainsFunc(during, func(s string) bool { return strings.HasPrefix(s, kind) }), nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	must(t, owner.Process.Kill())
	owner.Wait()
	start := time.Now()
	var left []string
	lab.Until(t.Context(), "all to be gone", func(context.Context) (bool, error) {
		left = added(before, machine(t))
		println(strings.Join(left, "|"))
		return len(left) == 0, nil
	})
	if len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	t.Logf("%d traces gone %v after the kill", len(during), time.Since(start).Round(time.Millisecond))
}

func added(before, after map[string]bool) (list []string) {
	for k := range after {
		if !before[k] {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

func TestCloseLeavesNothing(t *testing.T) {
	labtest.Require(t)
	before := machine(t)
	l, err := lab.New()
	must(t, err)
	shale, err := l.Host("shale")
	must(t, err)
	if _, err := shale.Run(t.Context(), "sh", "-c", "setsid sleep 4321 >/dev/null 2>&1 &"); err != nil {
		t.Error(err)
	}
	l.Close()
	if left := added(before, machine(t)); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
