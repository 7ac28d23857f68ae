package main

import (
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/host"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab"
)

// hideMemory keeps keys out of core files and away from other processes of the same user. A
// limit of 0 alone is not enough if cores are piped to a program (core(5)).
func hideMemory() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// takeHugePages makes the kernel provide memory in huge pages, if the administrator allows
// it (MADV_HUGEPAGE in madvise(2)): with small pages, page faults took a quarter of a check
// of ten thousand hosts, and of an import of ten thousand peers. The advice stays with the
// addresses, which are the first to be reused. Only what is touched is allocated.
func takeHugePages() {
	debug.SetGCPercent(-1)
	room := make([]byte, hugeBytes)
	unix.Madvise(room, unix.MADV_HUGEPAGE)
	runtime.KeepAlive(room)
	// The collection gives the addresses back. On one processor there is nobody to wake up at
	// each of its steps, which took longer than the steps.
	many := runtime.GOMAXPROCS(1)
	runtime.GC()
	runtime.GOMAXPROCS(many)
}

// startHere prepares the process, or runs it as another kind of process.
func startHere() {
	hideMemory()
	daemon.Main(host.Processes()...) // this program, run again as a process that stays
	lab.Init()                       // or as a host of the demo
}
