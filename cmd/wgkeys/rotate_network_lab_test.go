package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
)

// A mesh is hosts that are all peers of each other, around a router that adds
// nothing to the way. The repository is on the first of them, which reaches the
// others over ssh.
type mesh struct {
	*users
	hosts   []*lab.Host
	streams []*numbered
	atOnce  int // packets that a stream hands to the kernel in one call; 0: mostAtOnce
}

// with is m in a subtest.
func (m *mesh) with(t *testing.T) *mesh {
	return &mesh{m.users.with(t), m.hosts, m.streams, m.atOnce}
}

// meshNames are the hosts of a mesh, as many as a test wants.
var meshNames = []string{"basalt", "shale", "flint", "slate", "granite"}

// meshOptions is what tests of a rotation vary.
type meshOptions struct {
	hosts     int
	roundTrip time.Duration // between any two hosts; 0: what the machine takes, below 1 ms
	inside    bool          // ssh goes through the tunnel
	sharedSSH bool          // ssh keeps its connections for the next command
}

// makeMesh makes the hosts, their keys and the tunnel, through the program.
func makeMesh(t *testing.T, o meshOptions) *mesh {
	t.Helper()
	require(t, append(slices.Clone(programs), "tc")...)
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	n := &demo.Network{Lab: l}
	m := &mesh{users: &users{n, t}}
	n.Router = m.newHost("router")
	m.must(n.Router, "sysctl -q -w net.ipv4.ip_forward=1")
	for i := range o.hosts {
		m.join(i, o.roundTrip)
	}
	n.Basalt, n.Shale = m.hosts[0], m.hosts[1]
	for _, h := range m.hosts[1:] {
		if err := errors.Join(h.StartSSHD(t.Context()), l.Trust(t.Context(), m.hosts[0], h, m.inside(h).String())); err != nil {
			t.Fatal(err)
		}
	}
	m.raise(o)
	return m
}

// join makes the next host and its way to the router. Half a round trip of delay
// on the way out of each host makes a whole one between any two.
func (m *mesh) join(i int, roundTrip time.Duration) {
	m.t.Helper()
	h := m.newHost(meshNames[i])
	m.hosts = append(m.hosts, h)
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	port := h.Name() + "0"
	net, gateway := m.outside(h), m.outside(h).Prev()
	link := m.Link
	if roundTrip > 0 {
		link = func(a *lab.Host, aIf string, b *lab.Host, bIf string) error {
			return m.SlowLink(a, aIf, b, bIf, roundTrip/2)
		}
	}
	if err := errors.Join(
		h.Install("wgkeys", self),
		link(h, "eth0", m.Router, port),
		m.Router.IP("address add "+gateway.String()+"/30 dev "+port),
		h.IP("address add "+net.String()+"/30 dev eth0"),
		h.IP("route add default via "+gateway.String()),
	); err != nil {
		m.t.Fatal(err)
	}
}

// outside is a host's address, each in a network of its own.
func (m *mesh) outside(h *lab.Host) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(4*slices.Index(m.hosts, h) + 2)})
}

// inside is a host's address in the tunnel.
func (m *mesh) inside(h *lab.Host) netip.Addr {
	a := netip.MustParseAddr("2001:db8:7767::").As16()
	a[15] = byte(slices.Index(m.hosts, h) + 1)
	return netip.AddrFrom16(a)
}

// raise makes keys, installs them and applies the tunnel on all hosts. For the
// first time the keys travel OUTSIDE, whichever way ssh goes later.
func (m *mesh) raise(o meshOptions) {
	m.t.Helper()
	first := m.hosts[0]
	m.must(first, "cd /root && wgkeys init --classic net")
	m.tunnel(m.tunnelFile(false))
	names := strings.Join(meshNames[:o.hosts], " ")
	m.must(first, "wgkeys gen "+names+" && wgkeys push -q "+names+" && wgkeys apply -q")
	for _, h := range m.hosts[1:] {
		m.must(first, "wgkeys apply -q "+h.Name())
	}
	for i, a := range m.hosts {
		for _, b := range m.hosts[i+1:] { // one side first: two first handshakes at once can collide
			m.must(a, "ping -6 -n -q -c 1 -w 20 "+m.inside(b).String())
		}
	}
	m.tunnel(m.tunnelFile(o.inside))
	if o.sharedSSH {
		m.write(first, "/root/.ssh/config", "Host *\nControlMaster auto\nControlPath /root/.ssh/master-%C\nControlPersist 60\n")
	}
}

func (m *mesh) tunnelFile(inside bool) string {
	var b strings.Builder
	fmt.Fprintln(&b, "listen_port = 30567")
	for i, h := range m.hosts {
		fmt.Fprintf(&b, "\n[hosts.%s]\nendpoint = %q\naddresses = [\"%s/128\"]\n", h.Name(), m.outside(h), m.inside(h))
		if way := map[bool]netip.Addr{false: m.outside(h), true: m.inside(h)}[inside]; i > 0 { // the first is here
			fmt.Fprintf(&b, "ssh = \"root@%s\"\n", way)
		}
	}
	return b.String()
}
