//go:build unix

package ssh

import (
	"os/exec"
	"syscall"
)

// howToInstall is the command that installs ssh.
const howToInstall = "apt install openssh-client"

// uninterrupted starts a program that ignores SIGINT. Unlike a handler, an ignored signal is
// inherited (signal(7)), and ssh leaves it ignored (client_loop in its clientloop.c).
var uninterrupted = []string{"/bin/sh", "-c", `trap "" INT; exec "$@"`, "sh"}

// setApart has nothing to do: see uninterrupted.
func setApart(*exec.Cmd) {}

// stopGently ends cmd with a signal on which it cleans up; it is killed after WaitDelay.
func stopGently(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
}
