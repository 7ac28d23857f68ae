package linux_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

// TestChangesAndBack makes each change and undoes it. [TestBytesOfRequests] traces it.
func TestChangesAndBack(t *testing.T) {
	h, v := ready(t)
	j, err := journal.Open(h.journals, "wg0")
	must(t, err)
	s, err := h.Observe(t.Context(), "wg0", v, j.Entries)
	must(t, err)
	for name, c := range everyChange(s) {
		for _, changes := range [][]apply.Change{{c}, c.Inverse()} {
			if err := h.Do(t.Context(), changes); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	h.down(t)
}

// TestBytesOfRequests: no request with which a change is made, undone or observed has
// garbage in its padding. Kernels before 7 accept such requests.
func TestBytesOfRequests(t *testing.T) {
	labtest.Require(t, "strace", "wg")
	trace := filepath.Join(t.TempDir(), "trace")
	args := append(labtest.TraceArgs(trace), os.Args[0], "-test.run=^TestChangesAndBack$")
	out, err := exec.Command("strace", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	must(t, err)
	sent := map[int]int{}
	seen := map[string]bool{}
	for _, r := range labtest.Requests(string(text), os.Args[0]) {
		sent[r.Protocol]++
		for _, found := range r.Padding() {
			if !seen[found] {
				t.Errorf("netlink protocol %d: %s, in % x", r.Protocol, found, r.Bytes)
			}
			seen[found] = true
		}
	}
	want := []int{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER}
	if lab.Kernel() == "vm" {
		want = append(want, unix.NETLINK_GENERIC) // WireGuard's own
	}
	for _, protocol := range want {
		if sent[protocol] == 0 {
			t.Errorf("no request of netlink protocol %d was seen", protocol)
		}
	}
	t.Log(strings.TrimPrefix(fmt.Sprint(sent), "map"), "requests by protocol;", which())
}
