// Command wgkeys keeps WireGuard's secret keys apart from its configuration.
//
// Private keys live age-encrypted in a vault, one folder a host, and reach
// their hosts as key files. The tunnel itself is plain TOML in git; apply makes
// it true on a host and needs no secret to do so.
//
// Each verb has a file of its own here. ui.go alone prints, prompts and exits.
// This is the only place where the vault and the deployment meet.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/apply/linux/guard"
	"wgkeys/deploy/lab"
)

func main() {
	device.Main() // this program run again as a WireGuard device
	guard.Main()  // or as the guard of an apply
	lab.Init()    // or as a host of the demo

	// A crash must not write keys into a core file.
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	u := &ui{stdout: os.Stdout, stderr: os.Stderr}
	u.exit(run(ctx, u, os.Args))
}
