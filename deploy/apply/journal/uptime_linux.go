package journal

import (
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the time since the host was booted, including sleep: a clock that nobody can
// set (CLOCK_BOOTTIME, clock_gettime(2)).
func Uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // it is there since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
