// Command wgkeys keeps WireGuard's secret keys apart from its configuration.
//
// Private keys live age-encrypted in a vault, one folder a host, and reach
// their hosts as key files. The tunnel itself is plain TOML in git; apply makes
// it true on a host and needs no secret to do so.
//
// Each verb has a file of its own here. Package ui alone prints, prompts and exits.
// What they do is in cmd/internal; keys there is the only place where the vault and the
// deployment meet.
package main

import (
	"context"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"wgkeys/cmd/internal/ui"
)

func main() {
	startHere()
	u := &ui.UI{Stdout: os.Stdout, Stderr: os.Stderr}
	u.Exit(run(begin, u, os.Args))
}

// Below these bytes no garbage is collected: a command that runs once has little, and to
// collect it took a fifth of a no-op apply of ten thousand peers. Most of what a check
// takes is garbage.
const (
	manyBytes        = 256 << 20
	manyBytesOfCheck = 96 << 20

	hugeBytes = 64 << 20 // see takeHugePages
)

// collectFrom leaves garbage until the process has so many bytes of memory. From then on
// it is collected where it is more than six tenths of what is in use.
func collectFrom(memory int64) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memory)
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) { // which the first collection finds
		debug.SetGCPercent(60)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}

// begin prepares the process for a verb. What only tells of the program, its version or
// how it is used, needs none of it.
func begin(u *ui.UI, verb string) context.Context {
	memory := int64(manyBytes)
	if verb == "check" {
		memory = manyBytesOfCheck
	}
	if verb == "check" || verb == "import" {
		takeHugePages()
	}
	collectFrom(memory)

	// Nobody reads on: `wgkeys apply | true`. A write to standard output would kill the
	// program half way (signal(7)); so it is an error of that write. Unlike one that is
	// ignored, a signal that is caught is as it was for ssh and git.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return endable(u)
}
