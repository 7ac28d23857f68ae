package ssh

import (
	"os/exec"
	"syscall"
)

// howToInstall is where ssh comes from.
const howToInstall = "winget install Microsoft.OpenSSH.Preview"

// uninterrupted has no program start another one: see setApart.
var uninterrupted []string

// setApart has an interrupt that is typed not reach a program: it is for a group of processes.
func setApart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// stopGently leaves it at the end of cmd: Windows has no way to ask for it.
func stopGently(*exec.Cmd) {}
