package git

import "golang.org/x/sys/unix"

// maySetID reports whether this process may become another user: root in a container may
// lack the capability (capabilities(7), CAP_SETUID and CAP_SETGID).
func maySetID() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	const both = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&both == both
}
