//go:build !linux

package journal

import "time"

// Uptime is of use on hosts alone, which run Linux.
func Uptime() time.Duration { return 0 }
