package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// The command's own goroutine stays on the process's first thread, so that
// strace(1) counts its system calls in the same order each time.
func init() { runtime.LockOSThread() }

// faultCalls are what an apply reads and changes the host with: netlink, kernel
// parameters and files.
const faultCalls = "sendto,sendmsg,recvmsg,openat,read,write,pwrite64,fsync,ftruncate,flock,mkdirat,renameat,unlinkat,getdents64,socket,bind"

// faultTunnel is fullTunnel with all that fullTunnel lacks.
var faultTunnel = strings.Replace(fullTunnel, "forward   = true", "forward   = true\nmasquerade = true", 1)

// Every system call with which an apply works is made to fail in turn, and the
// process is killed at each: the host is as before or as wanted, the exit code
// says which, and down brings back what was there.
//
// All points take minutes: -long faults takes each, the default
// every so manieth of those that only read.
func TestLabApplyFaults(t *testing.T) {
	t.Parallel() // one process at a time, and hundreds of them
	if lab.Kernel() == "vm" {
		t.Log("the emulated kernel takes a few points only")
	}
	u := labtest.NewUsers(t)
	u.Tunnel(faultTunnel)
	u.Clone()
	before := u.Snapshot(u.Shale)
	u.Must(u.Shale, "wgkeys apply")
	target := netAndPeers(u)
	u.Must(u.Shale, "wgkeys down")

	sweep := &sweep{Users: u, before: before, target: target, counts: map[string]int{}}
	calls := sweep.count("wgkeys apply")
	sweep.calls = calls
	t.Logf("the system calls of one apply: %v", calls)
	u.Must(u.Shale, "wgkeys down")
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		for n := 1; n <= calls[call]; n += stride(call) {
			sweep.fail(call, n)
			sweep.kill(call, n)
		}
	}
	for _, n := range sweep.addresses { // which are asked for again
		sweep.fail("sendto", n)
	}
	t.Logf("%d points: %v", sweep.points, sweep.counts)
}

// stride is which of a system call's points are taken.
func stride(call string) int {
	if long("faults") {
		return 1
	}
	n := 31
	switch call {
	case "sendto", "sendmsg", "pwrite64", "renameat", "unlinkat", "fsync", "flock", "mkdirat":
		n = 7
	}
	if lab.Kernel() == "vm" {
		n *= 12
	}
	return n
}

type sweep struct {
	*labtest.Users
	before, target string
	calls          map[string]int // how many of each there are
	addresses      []int          // which calls of sendto set one
	points         int
	counts         map[string]int // by what became of it
}

var callName = lazyregexp.New(`^(\w+)\(`)

// count runs a command and counts its system calls on the first thread.
func (s *sweep) count(command string) map[string]int {
	s.Helper()
	s.Must(s.Shale, "strace -qq -o /root/calls -e trace="+faultCalls+" "+command)
	calls := map[string]int{}
	for line := range strings.Lines(s.Read(s.Shale, "/root/calls")) {
		if m := callName().FindStringSubmatch(line); m != nil {
			calls[m[1]]++
			if strings.Contains(line, "RTM_NEWADDR") {
				s.addresses = append(s.addresses, calls[m[1]])
			}
		}
	}
	return calls
}

func (s *sweep) inject(call, what string, n int) labtest.Result {
	s.Helper()
	s.points++
	return s.Run(s.Shale,
		fmt.Sprintf("timeout -s KILL 30 strace -qq -o /dev/null -e trace=%s -e inject=%s:%s:when=%d wgkeys apply", call, call,
			what, n))
}

// fail makes the n-th call of its kind fail.
func (s *sweep) fail(call string, n int) {
	point := fmt.Sprintf("%s %d fails", call, n)
	r := s.inject(call, "error="+errorOf(call), n)
	asBefore := demo.LineDiff(s.before, s.Snapshot(s.Shale)) == ""
	asWanted := !asBefore && demo.LineDiff(s.target, s.wanted()) == ""
	switch {
	case r.Code == 0 && asWanted:
		s.counts["applied"]++
	case r.Code != 0 && asBefore:
		s.counts["refused or undone"]++
	case r.Code != 0 && asWanted && strings.Contains(r.Stderr, "the tunnel is up"):
		s.counts["applied, but not kept for the next boot"]++
	case r.Code != 0 && asWanted && strings.Contains(r.Stderr, "wg0: done, 18 steps") &&
		strings.Contains(r.Stderr, `not all of the result was written to "standard output"`):
		s.counts["applied, but not all told"]++
	case strings.Contains(r.Stderr, "runtime: netpollBreak write failed"):
		s.counts["a write of Go's runtime to itself, which cannot fail so"]++
	default:
		s.Errorf("%s: exit %d, and the host is neither as before nor truly told of (as wanted: %v)\n%s", point, r.Code,
			asWanted, r.Stderr)
	}
	s.undo(point)
}

// undo takes the tunnel down. What is left wrong would be so for all later
// points.
func (s *sweep) undo(point string) {
	s.Helper()
	downLeavesNothing(s.Users, point)
	if diff := demo.LineDiff(s.before, s.Snapshot(s.Shale)); diff != "" {
		s.Fatalf("%s, then down: the host is not as before\n%s", point, diff)
	}
}

// wanted is the target's form of what is there, where a link is.
func (s *sweep) wanted() string {
	if s.Run(s.Shale, "test -e /sys/class/net/wg0").Code != 0 {
		return ""
	}
	return netAndPeers(s.Users)
}

// kill kills the process at the n-th call of its kind.
func (s *sweep) kill(call string, n int) {
	point := fmt.Sprintf("killed at %s %d", call, n)
	r := s.inject(call, "signal=KILL", n)
	switch {
	case r.Code == killed:
		s.counts["killed"]++
	case r.Code == 0 && n == s.calls[call] && demo.LineDiff(s.target, s.wanted()) == "":
		s.counts["over before the last point"]++ // what is read may come in fewer parts
	default:
		s.Errorf("%s: exit %d\n%s", point, r.Code, r.Stderr)
	}
	s.undo(point)
}

// errorOf is an error that the call can really give.
func errorOf(call string) string {
	return cmp.Or(map[string]string{
		"sendto": "ENOBUFS", "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM",
		"openat": "EMFILE", "write": "ENOSPC", "pwrite64": "ENOSPC", "fsync": "EIO",
		"mkdirat": "ENOSPC", "renameat": "ENOSPC", "unlinkat": "EROFS", "flock": "ENOLCK",
		"socket": "EMFILE", "bind": "ENOMEM",
	}[call], "EIO")
}
