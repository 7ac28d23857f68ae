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
	"wgkeys/deploy/ssh"
)

func main() {
	if code, yes := ssh.Askpass(os.Args, os.Stderr); yes {
		os.Exit(code)
	}
	startHere()
	u := &ui.UI{Stdout: os.Stdout, Stderr: os.Stderr}
	u.Exit(run(begin, u, os.Args))
}

// Below this many bytes no garbage is collected: a command that runs once has little, and
// collecting it took a fifth of a no-op apply of ten thousand peers. Most of the memory of
// a check is garbage.
const (
	manyBytes        = 256 << 20
	manyBytesOfCheck = 96 << 20
	manyBytesOfRekey = 150 << 20 // see collectGarbage

	hugeBytes = 64 << 20 // see takeHugePages
)

// collectFrom begins garbage collection when the process has this many bytes of memory.
// From then on it runs whenever garbage is more than six tenths of the memory in use.
func collectFrom(memory int64) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memory)
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) { // which the first collection frees
		debug.SetGCPercent(60)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}

// collectGarbage chooses when the garbage of a verb is collected, which is once a process.
func collectGarbage(verb string) {
	switch verb {
	case "check":
		takeHugePages()
		collectFrom(manyBytesOfCheck)
	case "import":
		takeHugePages()
		collectFrom(manyBytes)
	case "rekey":
		// Thousands of files are much garbage beside little that stays. Collection is rare
		// while there are few of them, and keeps to this many bytes if there are many.
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(manyBytesOfRekey)
	default:
		collectFrom(manyBytes)
	}
}

// begin prepares the process for a verb. Printing the version or help does not need that.
func begin(u *ui.UI, verb string) context.Context {
	collectGarbage(verb)

	// The reader has gone: `wgkeys apply | true`. By default a write to standard output
	// would kill the program partway (signal(7)); so make it an error of that write. Unlike
	// an ignored signal, a caught one has its default action in ssh and git.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return endable(u)
}
