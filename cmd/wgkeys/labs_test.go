package main

import (
	"context"
	"sync"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab/labtest"
)

// firstUsers returns hosts of the first users with no tunnel and their own tunnel file.
// They are shared, for they take long to make: the test has them to itself until its
// end, and has to leave no tunnel.
func firstUsers(t *testing.T) *users {
	t.Helper()
	t.Parallel()
	n := firstLabs.take(t)
	t.Cleanup(func() { firstLabs.give(n) })
	u := &users{n, t}
	u.must(u.Basalt, "wgkeys down")
	u.must(u.Shale, "wgkeys down")
	u.tunnel(demo.FirstTunnel)
	u.clone()
	return u
}

// firstLabs are the laboratories of firstUsers that nobody has now.
var firstLabs laboratories

type laboratories struct {
	mu   sync.Mutex
	all  []*demo.Network
	free []*demo.Network
}

func (l *laboratories) take(t *testing.T) *demo.Network {
	t.Helper()
	if n := l.oneFree(); n != nil {
		return n
	}
	n := newFirstUsers(t)
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

// close ends them, after the last test.
func (l *laboratories) close() {
	for _, n := range l.all {
		n.Close()
	}
}

// programs are what the tests need on hosts.
var programs = []string{"sshd", "ssh", "ssh-keygen", "ping", "wg", "sysctl", "nft", "strace"}

// newUsers has made keys for both hosts and pushed them; no tunnel is up. The
// laboratory ends with the test.
func newUsers(t *testing.T) *users {
	t.Helper()
	n := newFirstUsers(t)
	t.Cleanup(n.Close)
	return &users{n, t}
}

// newFirstUsers does it for longer than the test.
func newFirstUsers(t *testing.T) *demo.Network {
	t.Helper()
	require(t, programs...)
	n, err := demo.NewNetwork(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	u := &users{n, t}
	u.must(n.Basalt, "cd /root && wgkeys init --classic net")
	u.tunnel(demo.FirstTunnel)
	u.must(n.Basalt, "wgkeys gen basalt shale && wgkeys push basalt shale")
	u.clone()
	return n
}

// require skips the test where there can be no laboratory with these programs; where
// CI=true it fails.
func require(t *testing.T, programs ...string) {
	t.Helper()
	labtest.Require(t, programs...)
}
