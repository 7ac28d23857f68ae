package ssh

import (
	"os/exec"
	"syscall"
)

// howToInstall is the command that installs ssh.
const howToInstall = "winget install Microsoft.OpenSSH.Preview"

// uninterrupted is not needed here: see setApart.
var uninterrupted []string

// setApart keeps Ctrl-C from a program: it goes to a process group, and this one gets its
// own.
func setApart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// stopGently does nothing: Windows cannot ask a program to end, so cmd is killed.
func stopGently(*exec.Cmd) {}
