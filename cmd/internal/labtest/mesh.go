package labtest

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

// A Mesh is hosts that are all peers of each other, around a router that adds no delay. The
// repository is on the first host, which reaches the others over ssh.
type Mesh struct {
	*Users
	Hosts   []*lab.Host
	Streams []*Stream
	AtOnce  int // packets that a stream passes to the kernel in one call; 0: MostAtOnce
}

// With is m in a subtest.
func (m *Mesh) With(t *testing.T) *Mesh {
	return &Mesh{m.Users.With(t), m.Hosts, m.Streams, m.AtOnce}
}

// MeshNames are the names of a mesh's hosts, as many as a test wants.
var MeshNames = []string{"basalt", "shale", "flint", "slate", "granite"}

// MeshOptions vary the tests of a rotation.
type MeshOptions struct {
	Hosts     int
	RoundTrip time.Duration // between any two hosts; 0: no added delay, below 1 ms
	Inside    bool          // ssh goes through the tunnel
	SharedSSH bool          // ssh keeps its connections for the next command
}

// NewMesh makes the hosts, their keys and the tunnel, with the program.
func NewMesh(t *testing.T, o MeshOptions) *Mesh {
	t.Helper()
	Require(t, append(slices.Clone(Programs), "tc")...)
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	n := &demo.Network{Lab: l}
	m := &Mesh{Users: &Users{n, t}}
	n.Router = m.NewHost("router")
	m.Must(n.Router, "sysctl -q -w net.ipv4.ip_forward=1")
	for i := range o.Hosts {
		m.join(i, o.RoundTrip)
	}
	n.Basalt, n.Shale = m.Hosts[0], m.Hosts[1]
	for _, h := range m.Hosts[1:] {
		if err := errors.Join(h.StartSSHD(t.Context()),
			l.Trust(t.Context(), m.Hosts[0], h, m.Inside(h).String())); err != nil {
			t.Fatal(err)
		}
	}
	m.raise(o)
	return m
}

// join makes the next host and its link to the router. The way out of each host delays
// packets by half of the round trip time.
func (m *Mesh) join(i int, roundTrip time.Duration) {
	m.Helper()
	h := m.NewHost(MeshNames[i])
	m.Hosts = append(m.Hosts, h)
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	port := h.Name() + "0"
	net, gateway := m.Outside(h), m.Outside(h).Prev()
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
		m.Fatal(err)
	}
}

// Outside is a host's address, each in a network of its own.
func (m *Mesh) Outside(h *lab.Host) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(4*slices.Index(m.Hosts, h) + 2)})
}

// Inside is a host's address in the tunnel.
func (m *Mesh) Inside(h *lab.Host) netip.Addr {
	a := netip.MustParseAddr("2001:db8:7767::").As16()
	a[15] = byte(slices.Index(m.Hosts, h) + 1)
	return netip.AddrFrom16(a)
}

// raise makes keys, installs them and applies the tunnel on all hosts. The first keys
// travel OUTSIDE, even if ssh later goes through the tunnel.
func (m *Mesh) raise(o MeshOptions) {
	m.Helper()
	first := m.Hosts[0]
	m.Must(first, "cd /root && wgkeys init --classic net")
	m.Tunnel(m.TunnelFile(false))
	names := strings.Join(MeshNames[:o.Hosts], " ")
	m.Must(first, "wgkeys gen "+names+" && wgkeys push -q "+names+" && wgkeys apply -q")
	for _, h := range m.Hosts[1:] {
		m.Must(first, "wgkeys apply -q "+h.Name())
	}
	for i, a := range m.Hosts {
		for _, b := range m.Hosts[i+1:] { // one side first: two first handshakes at once can collide
			m.Must(a, "ping -6 -n -q -c 1 -w 20 "+m.Inside(b).String())
		}
	}
	m.Tunnel(m.TunnelFile(o.Inside))
	if o.SharedSSH {
		m.Write(first, "/root/.ssh/config",
			"Host *\nControlMaster auto\nControlPath /root/.ssh/master-%C\nControlPersist 60\n")
	}
}

// TunnelFile is the mesh's tunnel file; with inside, ssh goes through the tunnel.
func (m *Mesh) TunnelFile(inside bool) string {
	var b strings.Builder
	fmt.Fprintln(&b, "listen_port = 30567")
	for i, h := range m.Hosts {
		fmt.Fprintf(&b, "\n[hosts.%s]\nendpoint = %q\naddresses = [\"%s/128\"]\n", h.Name(), m.Outside(h), m.Inside(h))
		if way := map[bool]netip.Addr{false: m.Outside(h), true: m.Inside(h)}[inside]; i > 0 { // the first is here
			fmt.Fprintf(&b, "ssh = \"root@%s\"\n", way)
		}
	}
	return b.String()
}
