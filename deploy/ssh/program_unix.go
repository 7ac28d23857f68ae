//go:build unix

package ssh

import (
	"os/exec"
	"syscall"
)

// howToInstall is where ssh comes from.
const howToInstall = "apt install openssh-client"

// uninterrupted starts a program that ignores the signal: a handler is not inherited, to
// ignore is (signal(7)), and ssh leaves it so (client_loop in its clientloop.c).
var uninterrupted = []string{"/bin/sh", "-c", `trap "" INT; exec "$@"`, "sh"}

// setApart has nothing to do: see uninterrupted.
func setApart(*exec.Cmd) {}

// stopGently has cmd tidy up, and ends it outright only after WaitDelay.
func stopGently(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
}
