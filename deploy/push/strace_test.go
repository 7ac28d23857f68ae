package push_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wgkeys/deploy/push"
	"wgkeys/deploy/ssh/sshtest"
)

// traced is the part of strace's command line that both ends share: whole
// strings and environments, and the name behind each file descriptor.
var traced = []string{"-f", "-y", "-v", "-s", "65536", "-e",
	"trace=execve,execveat,read,write,writev,pwrite64,pwritev,sendto,sendmsg,rename,renameat,renameat2"}

var (
	reads = regexp.MustCompile(`^\d+ +(read\(|<\.\.\. read resumed>)`)
	// to a pipe or socket: sshd's to the shell, the shell's builtin's to cat.
	hands = regexp.MustCompile(`^\d+ +(write|writev|sendto|sendmsg)\(\d+<(pipe|socket|UNIX[^:]*):\[\d+\]>`)
	// to the file that becomes the key file.
	fills = regexp.MustCompile(`^\d+ +write\(\d+<[^>]*/\.wgkeys\.[^>]*>`)
)

// TestTraceHost watches the system calls of everything that runs on the host.
func TestTraceHost(t *testing.T) {
	sshtest.Need(t, "strace")
	for name, config := range speakers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trace := filepath.Join(t.TempDir(), "trace")
			c := config(t)
			c.Wrap = append([]string{"strace", "-o", trace}, traced...)
			h := newHost(t, name, c)
			key, psk := newKey(t, t.TempDir()+"/wg0.key"), newPSK(t, t.TempDir()+"/wg0.psk")
			_, err := h.push(t, key.File, psk.File)
			must(t, err)
			key.inPlace(t)
			h.Stop(t)
			checkHostTrace(t, trace, key)
			checkHostTrace(t, trace, psk)
		})
	}
}

func checkHostTrace(t *testing.T, trace string, s secret) {
	t.Helper()
	filled, renamed, programs := false, false, 0
	for _, line := range linesOf(t, trace) {
		if strings.Contains(line, "execve(") {
			programs++
		}
		switch {
		case strings.Contains(line, "rename") && strings.Contains(line, s.Path+`"`):
			renamed = filled
		case !strings.Contains(line, strings.TrimSpace(string(s.text))) || reads.MatchString(line) || hands.MatchString(line):
		case fills.MatchString(line):
			filled = true
		default:
			t.Errorf("the key is in %s", line)
		}
	}
	if programs == 0 || !filled || !renamed {
		t.Errorf("the trace shows %d programs, a temporary file: %v, that becomes %s: %v", programs, filled, s.Path, renamed)
	}
}

// TestTraceSSH watches our ssh: it reads the key and writes it nowhere in the
// clear.
func TestTraceSSH(t *testing.T) {
	sshtest.Need(t, "strace")
	h := newHost(t, "dash", sshtest.Config{})
	bin, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	shim := fmt.Sprintf("#!/bin/sh\nexec strace -o %s %s /usr/bin/ssh \"$@\"\n", trace, strings.Join(traced, " "))
	write(t, filepath.Join(bin, "ssh"), shim, 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	key := newKey(t, t.TempDir()+"/wg0.key")
	results, err := h.push(t, key.File)
	must(t, err)
	if actions(results) != string(push.Installed) {
		t.Errorf("%+v", results)
	}
	text := strings.TrimSpace(string(key.text))
	seen := false
	for _, line := range linesOf(t, trace) {
		switch {
		case !strings.Contains(line, text):
		case reads.MatchString(line):
			seen = true
		default:
			t.Errorf("the key is in %s", line)
		}
	}
	if !seen {
		t.Error("the trace does not show ssh reading the key")
	}
}

func linesOf(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return strings.Split(string(b), "\n")
}
