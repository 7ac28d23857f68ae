package linux

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/sysctl"
	"wgkeys/deploy/tunnel"
)

// fewPeers is a number of peers whose NAPI threads never matter.
const fewPeers = 32

// observeThreads reads the setting of threaded NAPI where a tunnel has many peers: the
// kernel makes a thread for each of them.
func observeThreads(sys *sysctl.Root, name string, view *tunnel.View, s *apply.State) {
	if view == nil || len(view.Peers) <= fewPeers || s.Link != nil && s.Link.Kind != "wireguard" {
		return
	}
	limit, err := sys.Read("kernel/threads-max")
	if err != nil {
		return
	}
	s.Threads.Max, _ = strconv.Atoi(strings.TrimSpace(limit))
	if s.Link == nil {
		s.Threads.Likely = threadsLikely()
		return
	}
	text, _ := os.ReadFile(threadsFile(name))
	s.Threads.Link = strings.TrimSpace(string(text))
}

func threadsFile(link string) string { return filepath.Join("/sys/class/net", link, "threaded") }

// threadsLikely reports whether a new WireGuard interface has a thread for each peer. It
// has on kernels after 6.12, the last on which none were seen.
func threadsLikely() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return true
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(strings.TrimRight(minor, "-abcdefghijklmnopqrstuvwxyz"))
	return errA != nil || errB != nil || a > 6 || a == 6 && b > 12
}

// setThreads writes the setting if it differs. The tunnel works without it, so it is no error
// if there is none, as for a device in user space or on an old kernel, if it cannot be written,
// as in a container, or if the device does not support it (EOPNOTSUPP, dev_set_threaded).
func setThreads(c apply.ThreadsChange) error {
	want := "0"
	if c.On {
		want = "1"
	}
	have, err := os.ReadFile(threadsFile(c.Link))
	if err != nil || strings.TrimSpace(string(have)) == want {
		return nil
	}
	err = os.WriteFile(threadsFile(c.Link), []byte(want), 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
