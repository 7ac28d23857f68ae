package daemon

import "os"

// setComm gives this process its name in top(1), ps -e, ss -p and pgrep(1): started as
// /proc/self/exe it would be "exe" there. The kernel keeps the first 15 bytes (proc(5),
// /proc/pid/comm), and what cannot write them only goes by the other name.
func setComm(name string) { os.WriteFile("/proc/self/comm", []byte(name), 0) }
