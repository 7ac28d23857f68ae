package daemon

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Hurry has the scheduler prefer this process: packets wait for it, and on a busy
// host its turn may come after a tenth of a second. The niceness is that of
// setpriority(2), from -20. The threads that Go starts later inherit it. Without
// the right to it the process goes on as it is.
func Hurry(niceness int) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
		}
	}
	// Where the kernel has a group for each session (sched_autogroup_enabled), niceness
	// tells of processes within a session alone, and this one has its own: sched(7).
	if session, err := unix.Getsid(0); err == nil && session == os.Getpid() {
		os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
	}
}
