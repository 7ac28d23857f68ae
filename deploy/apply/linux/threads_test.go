package linux_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

const threadedFile = "/sys/class/net/wg0/threaded"

// TestThreads: a hub with more peers than the host has room for threads gets none, whatever
// the kernel's default for a new interface is, and a second apply changes nothing.
func TestThreads(t *testing.T) {
	h := newHost(t)
	must(t, unix.Mount("sysfs", "/sys", "sysfs", 0, "")) // of this network namespace
	const limit = "/proc/sys/kernel/threads-max"
	before, err := os.ReadFile(limit)
	must(t, err)
	v := crowd(100)
	plan := h.apply(t, v)
	if h.threaded(t) {
		t.Logf("a fresh interface has threads here:\n%s", trim(before))
		if n := threads(t); n < 100 {
			t.Errorf("%d threads for 100 peers", n)
		}
	}
	if strings.Contains(spelled(plan), "threaded") {
		t.Errorf("100 peers have no thread each where there is room for %s", trim(before))
	}
	must(t, os.WriteFile(limit, []byte("1500"), 0)) // for a moment: 100 of them are more than a sixteenth
	defer os.WriteFile(limit, before, 0)
	threaded := h.threaded(t)
	if again := spelled(h.apply(t, v)); strings.Contains(again, "echo 0 > "+threadedFile) != threaded {
		t.Errorf("threaded before: %v, and the plan is\n%s", threaded, again)
	}
	if h.threaded(t) || threads(t) > 0 {
		t.Errorf("there are still %d threads", threads(t))
	}
	if again, _ := h.plan(t, v); len(again.Steps) > 0 {
		t.Errorf("the next plan is\n%s", spelled(again))
	}
}

// TestThreadsOfOthers: it is no error if the file does not exist or has the value already.
func TestThreadsOfOthers(t *testing.T) {
	h := newHost(t)
	must(t, unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	for _, link := range []string{"eth0", "nonesuch"} {
		for _, on := range []bool{false, true, false} {
			must(t, h.Do(t.Context(), []apply.Change{apply.ThreadsChange{Link: link, On: on}}))
		}
	}
}

func (h *host) threaded(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile(threadedFile)
	must(t, err)
	return trim(text) == "1"
}

// threads counts the NAPI threads of the peers: "napi/wg0-7" (napi_kthread_create).
func threads(t *testing.T) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc")
	must(t, err)
	for _, task := range tasks {
		if name, err := os.ReadFile("/proc/" + task.Name() + "/comm"); err == nil &&
			strings.HasPrefix(string(name), "napi/wg0-") {
			n++
		}
	}
	return n
}

func trim(b []byte) string { return strings.TrimSpace(string(b)) }
