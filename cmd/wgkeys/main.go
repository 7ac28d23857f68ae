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

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/host"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab"
)

// hideMemory keeps keys out of core files and away from other processes of the
// same user. A limit of 0 alone would not do where cores are piped to a program
// (core(5)).
func hideMemory() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

func main() {
	hideMemory()
	daemon.Main(host.Processes()...) // this program run again as a process that stays
	lab.Init()                       // or as a host of the demo

	u := &ui.UI{Stdout: os.Stdout, Stderr: os.Stderr}
	u.Exit(run(begin, u, os.Args))
}

// Below these bytes no garbage is collected: a command that runs once has little, and to
// collect it took a fifth of a no-op apply of ten thousand peers. Most of what a check
// takes is garbage.
const (
	manyBytes        = 256 << 20
	manyBytesOfCheck = 80 << 20

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

// takeHugePages has the kernel give the memory that is going to be used in huge pages,
// where an administrator lets it (MADV_HUGEPAGE in madvise(2)): of ten thousand hosts a
// quarter of a check, and of an import of ten thousand peers, was to give it page by page. The advice
// stays with the addresses, and they are the first that are used again. Only what is
// touched is taken.
func takeHugePages() {
	debug.SetGCPercent(-1)
	room := make([]byte, hugeBytes)
	unix.Madvise(room, unix.MADV_HUGEPAGE)
	runtime.KeepAlive(room)
	runtime.GC() // gives the addresses back
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
