package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A rekeySweep is a vault with the keys of three hosts, of which each run of
// rekey begins with a copy. Alice can open all of it; bob is to.
type rekeySweep struct {
	t                 *testing.T
	dir, wgkeys       string
	alice, bob        string
	hits, spots       int
	refused, finished int
}

// TestRekeyFaults has the system calls of a rekey fail, and the process killed at
// them, one after the other. Afterwards every file opens, for the old recipients
// or for the new ones, and the next rekey finishes. FAULT_STRIDE=1 tries
// every call that opens a file too, else every third.
func TestRekeyFaults(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is required in CI")
		}
		t.Skip("no strace here")
	}
	stride := 3
	if os.Getenv("FAULT_STRIDE") == "1" {
		stride = 1
	}
	s := newRekeySweep(t)
	for _, fault := range []struct{ call, what string }{
		{"write", "error=ENOSPC"}, {"write", "error=EIO"}, {"write", "signal=KILL"},
		{"fsync", "error=EIO"}, {"fsync", "error=ENOSPC"}, {"fsync", "signal=KILL"},
		{"renameat", "error=EROFS"}, {"renameat", "error=EIO"}, {"renameat", "signal=KILL"},
		{"openat", "error=EROFS"}, {"openat", "signal=KILL"}, {"fchmod", "error=EROFS"}, {"fchmod", "signal=KILL"},
		{"unlinkat", "error=EROFS"}, {"flock", "error=EIO"}, {"flock", "signal=KILL"},
	} {
		s.spots = 0
		step := 1
		if fault.call == "openat" { // there are many
			step = stride
		}
		for n := 1; s.hit(fault.call, fault.what, n); n += step {
			s.spots++
		}
		if s.spots == 0 && fault.call != "unlinkat" { // which only a failure calls
			t.Errorf("%s %s was never hit", fault.call, fault.what)
		}
		t.Logf("%s %s: %d points", fault.call, fault.what, s.spots)
	}
	t.Logf("%d runs were hit: %d ended with an error, %d were done all the same; after each every file opened, and the next rekey finished", s.hits, s.refused, s.finished)
}

func newRekeySweep(t *testing.T) *rekeySweep {
	dir := t.TempDir()
	s := &rekeySweep{t: t, dir: dir, alice: filepath.Join(dir, "alice.txt"), bob: filepath.Join(dir, "bob.txt"), wgkeys: filepath.Join(dir, "wgkeys")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, s.wgkeys); err != nil {
		t.Fatal(err)
	}
	s.must("age-keygen", "-o", s.alice)
	s.must("age-keygen", "-o", s.bob)
	net := filepath.Join(dir, "net")
	s.must(s.wgkeys, "init", "-q", "--classic", "-i", s.alice, net)
	s.must(s.wgkeys, "gen", "-q", "-C", net, "basalt", "shale", "slate")
	list := s.must("age-keygen", "-y", s.alice) + s.must("age-keygen", "-y", s.bob)
	if err := os.WriteFile(filepath.Join(net, "vault", "recipients.txt"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *rekeySweep) must(name string, args ...string) string {
	s.t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		s.t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}

var injected = regexp.MustCompile(`(?m)^.*\(INJECTED\).*$|^.*\+\+\+ killed by SIGKILL \+\+\+.*$`)

// hit runs a rekey of a fresh copy whose n-th call, of any thread, goes wrong. It
// is false if there are not so many calls.
func (s *rekeySweep) hit(call, what string, n int) bool {
	s.t.Helper()
	point := fmt.Sprintf("%s %s %d", call, what, n)
	work, trace := filepath.Join(s.dir, "work"), filepath.Join(s.dir, "trace")
	os.RemoveAll(work)
	s.must("cp", "-a", filepath.Join(s.dir, "net"), work)
	cmd := exec.Command("strace", "-f", "-qq", "-o", trace, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, what, n),
		s.wgkeys, "rekey", "-q", "-C", work, "-i", s.alice)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // strace counts the calls of each thread
	out, err := cmd.CombinedOutput()
	log, readErr := os.ReadFile(trace)
	if readErr != nil {
		s.t.Fatal(readErr)
	}
	if !injected.Match(log) {
		return false
	}
	s.hits++
	if err == nil {
		s.finished++
	} else {
		s.refused++
	}
	if !s.opens(work, s.alice) {
		s.t.Errorf("%s: a file is lost\n%s", point, out)
	}
	if out, err := exec.Command(s.wgkeys, "rekey", "-C", work, "-i", s.alice).CombinedOutput(); err != nil {
		s.t.Errorf("%s: the next rekey: %v\n%s", point, err, out)
	}
	if !s.opens(work, s.bob) {
		s.t.Errorf("%s: the next rekey has not finished", point)
	}
	if left, _ := filepath.Glob(filepath.Join(work, "vault", "*", ".*")); len(left) > 0 {
		s.t.Errorf("%s: it leaves %q", point, left)
	}
	return true
}

// opens decrypts every file with stock age and compares it with the keyring.
func (s *rekeySweep) opens(work, identity string) bool {
	paths, err := filepath.Glob(filepath.Join(work, "vault", "*", "*.age"))
	if err != nil || len(paths) != 3 {
		return false
	}
	for _, path := range paths {
		host := filepath.Base(filepath.Dir(path))
		public, err := exec.Command("sh", "-c", `age -d -i "$1" "$2" | wg pubkey`, "sh", identity, path).Output()
		want, readErr := os.ReadFile(filepath.Join(work, "keyring", host, "wg0.pub"))
		if err != nil || readErr != nil || strings.TrimSpace(string(public)) != strings.TrimSpace(string(want)) {
			return false
		}
	}
	return true
}
