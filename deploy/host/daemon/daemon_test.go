package daemon

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that detaches, says so in a file, and stays until that is gone.
var staying = Process{Name: "stays", Args: 1, Run: func(args []string) error {
	limit = 100 * time.Millisecond
	if err := Detach(); err != nil {
		return err
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], "detached"), comm, 0o600); err != nil {
		return err
	}
	for ; ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(args[0], "detached")); err != nil {
			return nil
		}
	}
}}

func TestStart(t *testing.T) {
	dir := t.TempDir()
	if err := Start(context.Background(), staying.Name, dir); err != nil {
		t.Fatal(err)
	}
	untilThere(t, filepath.Join(dir, "detached"))
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // until it is written
		comm, err := os.ReadFile(filepath.Join(dir, "detached"))
		if string(comm) == "stays\n" {
			break
		}
		if err != nil || len(comm) > 0 || time.Now().After(end) {
			t.Fatalf("its name is %q, %v", comm, err)
		}
	}
}

func untilThere(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not come", path)
		}
	}
}

// A process that stands still when it is told to go on, until its time to wait for that is
// over, may do either; but it says which, and so nobody takes one for started that has ended.
func TestStartSlow(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		dir := t.TempDir()
		cmd := exec.Command(self)
		cmd.Args = []string{staying.Name, dir}
		stdin, inErr := cmd.StdinPipe()
		stdout, outErr := cmd.StdoutPipe()
		if inErr != nil || outErr != nil {
			t.Fatal(inErr, outErr)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() || lines.Text() != ready {
			t.Fatalf("it says %q", lines.Text())
		}
		cmd.Process.Signal(unix.SIGSTOP)
		stdin.Write([]byte("go\n"))
		time.Sleep(200 * time.Millisecond) // more than its limit
		cmd.Process.Signal(unix.SIGCONT)
		if lines.Scan() && lines.Text() == detached {
			untilThere(t, filepath.Join(dir, "detached"))
			os.Remove(filepath.Join(dir, "detached"))
		} else if lines.Text() == "" {
			t.Error("it says nothing")
		}
		if err := cmd.Wait(); (err == nil) != (lines.Text() == detached) {
			t.Errorf("it says %q, and ends with %v", lines.Text(), err)
		}
	}
}

// A process that is let go and does not say so, and cleans up when it is told to end.
var silent = Process{Name: "silent", Args: 1, Run: func(args []string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	fmt.Println(ready)
	if err := permission(time.Minute); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], "let go"), nil, 0o600); err != nil {
		return err
	}
	<-stop
	return os.WriteFile(filepath.Join(args[0], "clean"), nil, 0o600)
}}

// A process of which it is not known whether it was let go can clean up before it ends.
func TestStartUnknown(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "let go")); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := Start(ctx, silent.Name, dir); err == nil {
		t.Error("it is said to run")
	}
	if _, err := os.Stat(filepath.Join(dir, "clean")); err != nil {
		t.Error(err)
	}
}
