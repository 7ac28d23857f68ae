package daemon

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	Main(silent, staying)
	if os.Args[0] != "hurried" {
		os.Exit(m.Run())
	}
	Hurry(-10)
	text, err := os.ReadFile("/proc/self/autogroup")
	os.Stdout.Write(text)
	if err != nil {
		os.Exit(1)
	}
}

// A process that hurries is preferred to those of other sessions, too: with niceness alone
// it is not, where the kernel has a group for each.
func TestHurry(t *testing.T) {
	if _, err := os.Stat("/proc/self/autogroup"); errors.Is(err, fs.ErrNotExist) || os.Geteuid() != 0 {
		t.Skip("it takes root, and a kernel with CONFIG_SCHED_AUTOGROUP")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/autogroup")
	if err != nil {
		t.Fatal(err)
	}
	for name, leads := range map[string]bool{"of its own session": true, "of another one's": false} {
		cmd := exec.Command(self)
		cmd.Args, cmd.SysProcAttr = []string{"hurried"}, &syscall.SysProcAttr{Setsid: leads}
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if hurried := strings.HasSuffix(string(text), " nice -10\n"); hurried != leads {
			t.Errorf("a process %s is in %s", name, text)
		}
	}
	if now, err := os.ReadFile("/proc/self/autogroup"); err != nil || string(now) != string(own) {
		t.Errorf("the caller is in %s, and was in %s: %v", now, own, err)
	}
}
