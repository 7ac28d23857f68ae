package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
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
}

// newMesh makes the hosts, their keys and the tunnel, through the program.
func newMesh(t *testing.T, o meshOptions) *mesh {
	t.Helper()
	labtest.Require(t, append(slices.Clone(programs), "tc")...)
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

func (m *mesh) newHost(name string) *lab.Host {
	m.t.Helper()
	h, err := m.Host(name)
	if err != nil {
		m.t.Fatal(err)
	}
	return h
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
	if long("rotations") {
		// Most of a rotation's time goes into ssh's handshakes, where a processor is
		// emulated: like many a user, have connections shared.
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

// flow begins streams both ways between all pairs, and waits until they do.
func (m *mesh) flow(rate int) {
	m.t.Helper()
	for i, a := range m.hosts {
		for j, b := range m.hosts {
			if i != j {
				m.streams = append(m.streams, m.stream(a, b, 7000+10*i+j, rate))
			}
		}
	}
	m.settle()
}

// settle waits until all streams come whole for half a second.
func (m *mesh) settle() {
	m.t.Helper()
	end := time.Now().Add(90 * time.Second)
	for _, s := range m.streams {
		for clean := false; !clean; {
			mark := s.mark()
			time.Sleep(500 * time.Millisecond)
			t := s.between(mark, s.sent.Load())
			clean = t.sent > 0 && t.lost == 0
			if !clean && time.Now().After(end) {
				m.t.Fatalf("nothing flows from %s to %s: %v%s", s.from, s.to, t, s.reasons())
			}
		}
	}
}

// during tells what f has cost each stream, up to when all is well again.
func (m *mesh) during(f func()) []toll {
	m.t.Helper()
	marks := make([]uint64, len(m.streams))
	for i, s := range m.streams {
		marks[i] = s.mark()
	}
	f()
	m.again(marks)
	tolls := make([]toll, len(m.streams))
	for i, s := range m.streams {
		tolls[i] = s.between(marks[i], s.sent.Load())
	}
	return tolls
}

// again waits until what was sent in the last half second has come. Unlike
// settle it does not mark, for the gaps are those since the marks.
func (m *mesh) again(marks []uint64) {
	m.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; {
		begin := make([]uint64, len(m.streams))
		for i, s := range m.streams {
			begin[i] = s.sent.Load()
		}
		time.Sleep(500 * time.Millisecond)
		lost := 0
		for i, s := range m.streams {
			lost += s.between(begin[i], s.sent.Load()).lost
		}
		if lost == 0 {
			return
		}
		if time.Now().After(end) {
			for i, s := range m.streams {
				m.t.Errorf("%s to %s: %v%s", s.from, s.to, s.between(marks[i], s.sent.Load()), s.reasons())
			}
			m.t.Fatal("the streams do not recover")
		}
	}
}

// still sees that the laboratory itself loses nothing.
func (m *mesh) still() {
	m.t.Helper()
	for i, t := range m.during(func() { time.Sleep(2 * time.Second) }) {
		s := m.streams[i]
		m.t.Logf("%s to %s, nothing changes: %v", s.from, s.to, t)
		if t.lost > 0 || t.doubled > 0 {
			m.t.Errorf("%s to %s: %v%s while nothing changes", s.from, s.to, t, s.reasons())
		}
	}
}

// A backend is which WireGuard the tunnels run on.
type backend string

const (
	kernelBackend   backend = "kernel"
	embeddedBackend backend = "embedded"
)

// backends are those that there are here.
func backends() []backend {
	if lab.HasWireGuard() {
		return []backend{kernelBackend, embeddedBackend}
	}
	return []backend{embeddedBackend}
}

// wireguardModule is where testdata/vm has it.
const wireguardModule = "/modules/wireguard.ko"

// use takes the kernel's WireGuard away for the test where the embedded device is
// wanted: then the program does what it does on every kernel without.
func (b backend) use(t *testing.T) {
	t.Helper()
	if b == kernelBackend || !lab.HasWireGuard() {
		return
	}
	if lab.Kernel() != "vm" {
		t.Skip("the machine's own kernel keeps its WireGuard")
	}
	// The namespaces of the test before it may still be going.
	err := lab.Until(t.Context(), "the kernel's WireGuard to be free", func(context.Context) (bool, error) {
		return unix.DeleteModule("wireguard", unix.O_NONBLOCK) == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f, err := os.Open(wireguardModule)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			t.Fatal(err)
		}
	})
}
