package labtest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/demo"
	"wgkeys/deploy/lab"
)

// A Star is a hub with many spokes, which are peers of the hub only. The repository is on
// the hub, which reaches the spokes over ssh, OUTSIDE. The first spoke is the other host of
// Users.
type Star struct {
	*Users
	Hub     *lab.Host
	Spokes  []*lab.Host
	program string
}

// With returns s for a subtest.
func (s *Star) With(t *testing.T) *Star { return &Star{s.Users.With(t), s.Hub, s.Spokes, s.program} }

// NewStar makes the hosts and their keys, which are not pushed yet. There is no tunnel.
func NewStar(t *testing.T, spokes int) *Star {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return NewStarOf(t, spokes, self)
}

// NewStarOf is NewStar with another program than the test binary, which takes longer to
// start.
func NewStarOf(t *testing.T, spokes int, program string) *Star {
	t.Helper()
	Require(t, Programs...)
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	allowInotify(t, spokes)
	n := &demo.Network{Lab: l}
	s := &Star{Users: &Users{n, t}, program: program}
	s.Hub = s.NewHost("hub")
	n.Router, n.Basalt = s.Hub, s.Hub
	s.must(s.equip(s.Hub))
	// With an address of its own: one that changes with the ports takes all neighbours with it.
	s.must(s.Hub.IP("link add lan address 02:00:00:00:00:00 type bridge"))
	s.must(s.Hub.IP("link set lan up"))
	s.must(s.Hub.IP("address add " + outsideOf(0).String() + "/16 dev lan"))
	for i := range spokes {
		s.Spokes = append(s.Spokes, s.NewHost(fmt.Sprintf("s%03d", i+1)))
	}
	n.Shale = s.Spokes[0]
	var group errgroup.Group
	group.SetLimit(8)
	for i := range s.Spokes {
		group.Go(func() error { return s.join(i) })
	}
	s.must(group.Wait())
	for _, h := range s.Spokes {
		s.must(l.Trust(t.Context(), s.Hub, h))
	}
	s.Must(s.Hub, "cd /root && wgkeys init -q --classic net")
	s.Tunnel(s.File(""))
	s.Must(s.Hub, "wgkeys gen -q hub "+strings.Join(s.Names(), " "))
	return s
}

// allowInotify raises a limit for so many userspace devices on one machine: each has an
// instance of inotify(7), of which the kernel allows a user 128 by default.
func allowInotify(t *testing.T, devices int) {
	t.Helper()
	const limit = "/proc/sys/fs/inotify/max_user_instances"
	was, err := os.ReadFile(limit)
	if n, _ := strconv.Atoi(strings.TrimSpace(string(was))); err != nil || n > devices+100 {
		return
	}
	if err := os.WriteFile(limit, []byte(strconv.Itoa(devices+200)), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(limit, was, 0) })
}

func (s *Star) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *Star) equip(h *lab.Host) error { return h.Install("wgkeys", s.program) }

// join links a spoke to the hub's bridge, and starts its ssh server.
func (s *Star) join(i int) error {
	h, port := s.Spokes[i], fmt.Sprintf("p%d", i+1)
	if err := errors.Join(s.equip(h), s.Link(h, "eth0", s.Hub, port)); err != nil {
		return err
	}
	addr, mac := outsideOf(i+1).String(), fmt.Sprintf("02:00:00:00:%02x:%02x", (i+1)>>8, (i+1)&0xff)
	return errors.Join(
		h.IP("link set eth0 address "+mac),
		s.Hub.IP("link set "+port+" master lan"),
		s.onlyOwnFrames(port, addr, mac),
		h.IP("address add "+addr+"/16 dev eth0"),
		h.StartSSHD(s.Context()),
	)
}

// onlyOwnFrames has the bridge send no frame to a port that is not for its spoke. A frame for a
// spoke that is asleep, or a question of ARP, would go to all ports otherwise: with hundreds
// that is more than the machine's processors queue (net.core.netdev_max_backlog), which drops
// packets of the others.
func (s *Star) onlyOwnFrames(port, addr, mac string) error {
	_, err := s.Hub.Run(s.Context(), "bridge", "fdb", "replace", mac, "dev", port, "master", "static")
	return errors.Join(err,
		s.Hub.IP("link set "+port+" type bridge_slave flood off mcast_flood off isolated on"),
		s.Hub.IP("neighbour replace "+addr+" lladdr "+mac+" nud permanent dev lan"),
	)
}

// outsideOf returns the OUTSIDE address of the hub, which is 0, or a spoke.
func outsideOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i%250 + 1)})
}

// InsideOf returns the INSIDE address of the hub, which is 0, or a spoke.
func InsideOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(i / 250), byte(i%250 + 1)})
}

// Names returns the names of the spokes.
func (s *Star) Names() (names []string) {
	for _, h := range s.Spokes {
		names = append(names, h.Name())
	}
	return names
}

// File returns the tunnel file, with extra lines for the whole tunnel. Every spoke has the
// tag spoke, and every tenth the tag tenth.
func (s *Star) File(lines string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen_port = 30567\n%s\n[hosts.hub]\nendpoint = %q\naddresses = [%q]\n", lines, outsideOf(0),
		InsideOf(0).String()+"/16")
	for i, h := range s.Spokes {
		tags := `"spoke"`
		if (i+1)%10 == 0 {
			tags += `, "tenth"`
		}
		fmt.Fprintf(&b, "\n[hosts.%s]\nssh = \"root@%s\"\naddresses = [%q]\ntags = [%s]\n", h.Name(), outsideOf(i+1),
			InsideOf(i+1).String()+"/16", tags)
	}
	return b.String()
}
