package linux_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

// TestBytesOfRequests looks at the bytes of every request with which each change is
// made, undone and looked at: none is there that nobody wrote. Kernels before 7 take
// such a request.
func TestBytesOfRequests(t *testing.T) {
	labtest.Require(t, "strace", "wg")
	trace := filepath.Join(t.TempDir(), "trace")
	args := append(labtest.TraceArgs(trace), os.Args[0], "-test.run=^(TestEveryChange|TestLastIPv4Address)$")
	out, err := exec.Command("strace", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	must(t, err)
	sent := map[int]int{}
	seen := map[string]bool{}
	for _, r := range labtest.Requests(string(text)) {
		sent[r.Protocol]++
		for _, found := range r.Foreign() {
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
