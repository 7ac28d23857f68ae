package main

import (
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

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

// startHere prepares the process, or is one of another kind that this program is run as.
func startHere() {
	hideMemory()
	daemon.Main(host.Processes()...) // this program run again as a process that stays
	lab.Init()                       // or as a host of the demo
}
