package labtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The requests of a program are found whichever thread sends them, and those of other
// programs are not.
func TestRequests(t *testing.T) {
	trace := `100 execve("/bin/wgkeys", ["wgkeys", "apply"], 0x7ffe /* 3 vars */) = 0
100 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_GENERIC) = 3
100 clone(child_stack=0xc000, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, tls=0xc0 <unfinished ...>
101 sendto(0x3, 0xc0000, 0x14, 0, 0xc0001, 0xc <unfinished ...>
100 <... clone resumed>)              = 101
101 <... sendto resumed>)             = 0x14
 | 00000  14 00 00 00 1c 00 05 03  01 00 00 00 00 00 00 00  ................ |
 | 00010  00 01 c0 00                                       ....             |
100 clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 102
102 execve("/sbin/ip", ["ip", "link"], 0x7ffe /* 3 vars */) = 0
102 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 3
102 sendto(0x3, 0xc0000, 0x4, 0, 0, 0) = 0x4
 | 00000  ff ff ff ff                                       ....             |
100 socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP) = 3
100 sendto(0x3, 0xc0000, 0x4, 0, 0, 0) = 0x4
 | 00000  ff ff ff ff                                       ....             |
`
	requests := Requests(trace, "/bin/wgkeys")
	if len(requests) != 1 || requests[0].Protocol != unix.NETLINK_GENERIC || len(requests[0].Bytes) != 20 {
		t.Fatalf("the requests are %v", requests)
	}
	if found := requests[0].Padding(); len(found) != 1 || !strings.Contains(found[0], "c0 00") {
		t.Errorf("found %q", found)
	}
}

func TestPadding(t *testing.T) {
	message := func(kind byte, body ...byte) []byte {
		return slices.Concat([]byte{byte(headerLength + len(body)), 0, 0, 0, kind, 0}, make([]byte, 10), body)
	}
	for name, c := range map[string]struct {
		protocol int
		bytes    []byte
		want     string
	}{
		"good":     {unix.NETLINK_GENERIC, message(28, 0, 1, 0, 0, 6, 0, 2, 0, 'w', 0, 0, 0), ""},
		"reserved": {unix.NETLINK_GENERIC, message(28, 0, 1, 0, 7), "header: 00 07"},
		"behind one": {unix.NETLINK_GENERIC, message(28, 0, 1, 0, 0, 5, 0, 2, 0, 'w', 0, 9, 0),
			"behind attribute 2: 00 09 00"},
		"behind one within": {unix.NETLINK_GENERIC, message(28, 0, 1, 0, 0, 12, 0, 8, 0x80, 5, 0, 1, 0, 'w', 9, 0, 0),
			"behind attribute 1: 09 00 00"},
		"within, unmarked": {unix.NETLINK_GENERIC, message(28, 0, 1, 0, 0, 12, 0, 8, 0, 5, 0, 1, 0, 'w', 9, 0, 0),
			"behind attribute 1: 09 00 00"},
		"end of a sockaddr": {unix.NETLINK_GENERIC, message(28, slices.Concat([]byte{0, 1, 0, 0, 20, 0, 4, 0, 2, 0},
			make([]byte, 13), []byte{1})...), "sockaddr_in: 00 00 00 00 00 00 00 01"},
		"the second message": {unix.NETLINK_ROUTE, slices.Concat(message(unix.RTM_GETLINK, make([]byte, 16)...),
			message(unix.RTM_GETLINK, slices.Concat([]byte{0, 3}, make([]byte, 14))...)), "header: 03"},
		"a rule": {unix.NETLINK_ROUTE, message(unix.RTM_NEWRULE, 2, 0, 0, 0, 7, 0, 1, 1, 0, 0, 0, 0),
			"header: 00 01"},
		"cut": {unix.NETLINK_ROUTE, []byte{1, 2}, "no message"},
	} {
		found := Request{c.protocol, c.bytes}.Padding()
		if got := strings.Join(found, "; "); got != c.want && (c.want == "" || !strings.HasSuffix(got, c.want) &&
			!strings.Contains(got, "no message")) {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// The output of strace(1) can be parsed, and the requests of ip(8) have clean padding.
func TestTrace(t *testing.T) {
	Require(t, "strace")
	file := filepath.Join(t.TempDir(), "trace")
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("strace", append(TraceArgs(file), ip, "link")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	requests := Requests(string(trace), ip)
	if len(requests) == 0 {
		t.Errorf("no requests in\n%s", trace)
	}
	for _, r := range requests {
		if found := r.Padding(); found != nil {
			t.Errorf("ip link: %q", found)
		}
	}
}
