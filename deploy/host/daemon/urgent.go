package daemon

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Hurry makes the scheduler prefer this process: packets wait for it, and on a busy host it
// may have to wait a tenth of a second for a processor. The niceness is that of
// setpriority(2), from -20; threads that Go starts later inherit it. Without the right to
// set it the process goes on as it is.
func Hurry(niceness int) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
		}
	}
	// If the kernel has a group for each session (sched_autogroup_enabled), niceness counts
	// among the processes of a session only, and this one has its own: sched(7).
	if session, err := unix.Getsid(0); err == nil && session == os.Getpid() {
		os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
	}
}
