package labtest

import (
	"context"
	"sync"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

// FirstUsers returns the hosts of the first users with their own tunnel file and without a
// tunnel. Making hosts takes long, so tests share them: a test has them to itself until it
// ends, and must leave no tunnel.
func FirstUsers(t *testing.T) *Users {
	t.Helper()
	t.Parallel()
	n := shared.take(t)
	t.Cleanup(func() { shared.give(n) })
	u := &Users{n, t}
	u.Must(u.Basalt, "wgkeys down")
	u.Must(u.Shale, "wgkeys down")
	u.asAtFirst()
	return u
}

// first has copies of each host's kept directories, as they were before the first test.
const first = "/root/first"

// kept are the directories with key files, wgkeys' state and the repository.
const kept = "/etc/wireguard /etc/wgkeys /root/net"

// asAtFirst restores them, so that a test finds no keys of an earlier one.
func (u *Users) asAtFirst() {
	u.Helper()
	for _, h := range []*lab.Host{u.Basalt, u.Shale} {
		u.Must(h, "find "+kept+" -mindepth 1 -delete; cp -a "+first+"/wireguard "+first+"/wgkeys /etc && cp -a "+first+
			"/net /root")
	}
}

// shared are the laboratories of [FirstUsers].
var shared laboratories

type laboratories struct {
	mu   sync.Mutex
	all  []*demo.Network
	free []*demo.Network // not in use by a test
}

func (l *laboratories) take(t *testing.T) *demo.Network {
	t.Helper()
	if n := l.oneFree(); n != nil {
		return n
	}
	n := newFirstUsers(t)
	for _, h := range []*lab.Host{n.Basalt, n.Shale} {
		(&Users{n, t}).Must(h, "mkdir -p "+first+" /etc/wgkeys && cp -a "+kept+" "+first)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, n)
	return n
}

func (l *laboratories) oneFree() *demo.Network {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return nil
	}
	n := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return n
}

func (l *laboratories) give(n *demo.Network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, n)
}

// CloseShared ends the laboratories of [FirstUsers]. Call it after the last test.
func CloseShared() {
	for _, n := range shared.all {
		n.Close()
	}
}

// Programs are the programs that the tests need on hosts.
var Programs = []string{"sshd", "ssh", "ssh-keygen", "ping", "wg", "sysctl", "nft", "strace"}

// NewUsers returns hosts of the first users with keys and without a tunnel. They end with
// the test.
func NewUsers(t *testing.T) *Users {
	t.Helper()
	n := newFirstUsers(t)
	t.Cleanup(n.Close)
	return &Users{n, t}
}

// newFirstUsers makes hosts that outlive the test.
func newFirstUsers(t *testing.T) *demo.Network {
	t.Helper()
	Require(t, Programs...)
	n, err := demo.NewNetwork(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	u := &Users{n, t}
	u.Must(n.Basalt, "cd /root && wgkeys init --classic net")
	u.Tunnel(demo.FirstTunnel)
	u.Must(n.Basalt, "wgkeys gen basalt shale && wgkeys push basalt shale")
	u.Clone()
	return n
}

// Require skips the test if no laboratory with these programs can be made. With CI=true it
// fails the test instead.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	labtest.Require(t, programs...)
}

// Missing is labtest.Missing of deploy/lab/labtest.
func Missing(t *testing.T, why string) {
	t.Helper()
	labtest.Missing(t, why)
}
