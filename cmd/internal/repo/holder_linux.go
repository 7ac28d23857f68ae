package repo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// holder describes the process that has path locked, as far as the kernel reports it, or
// "".
func holder(path string) string {
	var st unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &st) != nil {
		return ""
	}
	// 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			continue
		}
		args, err := os.ReadFile("/proc/" + f[4] + "/cmdline")
		if err != nil || len(args) == 0 {
			return "process " + f[4]
		}
		words := strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
		words[0] = filepath.Base(words[0])
		return "process " + f[4] + ", " + strings.Join(words, " ")
	}
	return ""
}
