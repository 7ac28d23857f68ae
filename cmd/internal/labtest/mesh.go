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

// A Mesh is a set of hosts that are all peers of each other, around a router. The
// repository is on the first host, which reaches the others over ssh.
type Mesh struct {
	*Users
	Hosts   []*lab.Host
	Streams []*Stream
	AtOnce  int // packets of a stream in one system call; 0: MostAtOnce
}

// With returns m for a subtest.
func (m *Mesh) With(t *testing.T) *Mesh {
	return &Mesh{m.Users.With(t), m.Hosts, m.Streams, m.AtOnce}
}

// MeshNames are the names of the hosts of a mesh. A test takes as many as it wants.
var MeshNames = []string{"basalt", "shale", "flint", "slate", "granite"}

// MeshOptions vary a mesh.
type MeshOptions struct {
	Hosts     int
	RoundTrip time.Duration // between any two hosts; 0: no added delay, below 1 ms
	Inside    bool          // ssh goes through the tunnel
	SharedSSH bool          // ssh keeps its connections for the next command
}

// NewMesh makes the hosts, their keys and the tunnel, by running the program.
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

// join makes the next host and its link to the router. Each host delays the packets that it
// sends by half of the round-trip time.
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

// Outside returns a host's OUTSIDE address. Each is in a network of its own.
func (m *Mesh) Outside(h *lab.Host) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(4*slices.Index(m.Hosts, h) + 2)})
}

// Inside returns a host's address in the tunnel.
func (m *Mesh) Inside(h *lab.Host) netip.Addr {
	a := netip.MustParseAddr("2001:db8:7767::").As16()
	a[15] = byte(slices.Index(m.Hosts, h) + 1)
	return netip.AddrFrom16(a)
}

// raise makes keys, installs them and applies the tunnel on all hosts. The first keys are
// pushed OUTSIDE, even if ssh later goes through the tunnel.
func (m *Mesh) raise(o MeshOptions) {
	m.Helper()
	first := m.Hosts[0]
	m.Must(first, "cd /root && wgkeys init --classic net")
	m.Tunnel(m.TunnelFile())
	names := strings.Join(MeshNames[:o.Hosts], " ")
	m.Must(first, "wgkeys gen "+names+" && wgkeys push -q "+names+" && wgkeys apply -q")
	for _, h := range m.Hosts[1:] {
		m.Must(first, "wgkeys apply -q "+h.Name())
	}
	for i, a := range m.Hosts {
		for _, b := range m.Hosts[i+1:] { // one side first: two first handshakes at the same time can collide
			m.Must(a, "ping -6 -n -q -c 1 -w 20 "+m.Inside(b).String())
		}
	}
	if o.Inside {
		m.Tunnel(m.tunnelFile(m.Inside))
	}
	if o.SharedSSH {
		m.Write(first, "/root/.ssh/config",
			"Host *\nControlMaster auto\nControlPath /root/.ssh/master-%C\nControlPersist 60\n")
	}
}

// TunnelFile returns the mesh's tunnel file, in which ssh goes OUTSIDE.
func (m *Mesh) TunnelFile() string { return m.tunnelFile(m.Outside) }

// tunnelFile returns the tunnel file with the addresses for ssh.
func (m *Mesh) tunnelFile(ssh func(*lab.Host) netip.Addr) string {
	var b strings.Builder
	fmt.Fprintln(&b, "listen_port = 30567")
	for i, h := range m.Hosts {
		fmt.Fprintf(&b, "\n[hosts.%s]\nendpoint = %q\naddresses = [\"%s/128\"]\n", h.Name(), m.Outside(h), m.Inside(h))
		if i > 0 { // the first has the repository
			fmt.Fprintf(&b, "ssh = \"root@%s\"\n", ssh(h))
		}
	}
	return b.String()
}
