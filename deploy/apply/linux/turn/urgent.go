package turn

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// hurry has the scheduler prefer this process for the seconds that it lives: what
// waits for it are packets, and on a busy host its turn may come after a tenth of
// a second (setpriority(2)). It does little, so nobody else waits for long. The
// threads that Go starts later inherit it. Without the right to it goes on as it
// is.
func hurry() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			unix.Setpriority(unix.PRIO_PROCESS, id, -20)
		}
	}
}
