package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// A star is a hub and its peers, all behind one bastion: nobody else can be reached
// from where the repository is.
type star struct {
	*labtest.Users
	admin, bastion, hub *lab.Host
	peers               []*lab.Host
}

func newStar(t *testing.T, peers int, startups string) *star {
	t.Helper()
	labtest.Require(t, labtest.Programs...)
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	s := &star{Users: &labtest.Users{Network: &demo.Network{Lab: l}, T: t}}
	s.Router, s.admin, s.bastion, s.hub = s.NewHost("router"), s.NewHost("admin"), s.NewHost("bastion"), s.NewHost("hub")
	s.Basalt = s.admin // where the repository is
	s.Must(s.Router, "ip link add br0 type bridge && ip link set br0 up")
	s.join(s.bastion, "198.51.100.254")
	s.join(s.hub, "198.51.100.1")
	for i := range peers {
		h := s.NewHost(fmt.Sprintf("p%02d", i+1))
		s.join(h, fmt.Sprintf("198.51.100.%d", i+2))
		s.peers = append(s.peers, h)
	}
	s.letIn(startups)
	s.raise()
	return s
}

// join connects a host to the others.
func (s *star) join(h *lab.Host, address string) {
	s.Helper()
	port := h.Name() + "0"
	if err := errors.Join(s.Link(h, "eth0", s.Router, port), h.IP("address add "+address+"/24 dev eth0"),
		s.Router.IP("link set "+port+" master br0")); err != nil {
		s.Fatal(err)
	}
}

// letIn has the bastion let the admin in, and on to the others, and no more of those
// who are not authenticated than startups says.
func (s *star) letIn(startups string) {
	s.Helper()
	if err := errors.Join(s.Link(s.admin, "eth0", s.bastion, "eth1"),
		s.admin.IP("address add 192.0.2.1/30 dev eth0"), s.bastion.IP("address add 192.0.2.2/30 dev eth1")); err != nil {
		s.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	conf := "Host bastion\n HostName 192.0.2.2\n User root\n"
	for _, h := range append([]*lab.Host{s.admin, s.bastion, s.hub}, s.peers...) {
		if err := h.Install("wgkeys", self); err != nil {
			s.Fatal(err)
		}
		if h == s.admin {
			continue
		}
		if err := errors.Join(h.StartSSHD(s.Context()), s.Trust(s.Context(), s.admin, h)); err != nil {
			s.Fatal(err)
		}
		if h != s.bastion {
			conf += fmt.Sprintf("Host %s\n HostName %s\n User root\n ProxyJump bastion\n", h.Name(), s.address(h))
		}
	}
	s.Write(s.admin, "/root/.ssh/config", conf)
	s.Must(s.bastion, "sed -i 's/^MaxStartups.*/MaxStartups "+startups+
		"/' /etc/ssh/sshd_config && kill -HUP $(cat /run/sshd.pid)")
}

func (s *star) address(h *lab.Host) string {
	return strings.TrimSpace(s.Must(h, "ip -oneline -4 address show dev eth0 | sed 's/.*inet //; s/\\/.*//'"))
}

// raise makes the keys and the tunnel, through the bastion.
func (s *star) raise() {
	s.Helper()
	file := "[hosts.hub]\nendpoint = \"" + s.address(s.hub) + "\"\naddresses = [\"10.9.0.1/32\"]\n"
	names := "hub"
	for i, h := range s.peers {
		file += fmt.Sprintf("[hosts.%s]\naddresses = [\"10.9.0.%d/32\"]\nkeepalive = 5\n", h.Name(), i+2)
		names += " " + h.Name()
	}
	s.Must(s.admin, "cd /root && wgkeys init -q --classic net")
	s.Tunnel(file)
	s.Must(s.admin, "wgkeys gen -q "+names)
}

// each applies on all, eight at once as other verbs do.
func (s *star) each() string {
	names := ""
	for _, h := range s.peers {
		names += h.Name() + " "
	}
	return "wgkeys apply -q hub && echo " + names + "| xargs -P 8 -n 1 wgkeys apply -q"
}

// TestLabBastion: what sshd drops on the way is no failure, at defaults.
func TestLabBastion(t *testing.T) {
	t.Parallel()
	peers, runs, startups := 6, 1, "4:30:20"
	if long("bastion") {
		peers, runs, startups = 40, 10, "10:30:100"
	}
	s := newStar(t, peers, startups)
	failed := 0
	for run := range runs {
		verbs := []string{"wgkeys push --all", s.each(), "for i in $(seq 2 " + fmt.Sprint(peers+1) +
			"); do ping -n -q -c 1 -w 20 10.9.0.$i; done", "wgkeys status"}
		if long("bastion") { // all hosts are on one machine, which has to have time for their watchers
			verbs = append(verbs, "wgkeys rotate -y hub")
		}
		for _, verb := range verbs {
			host := s.admin
			if strings.Contains(verb, "ping") {
				host = s.hub
			}
			start := time.Now()
			r := s.Run(host, verb)
			t.Logf("run %d: %.20s: exit %d, %v", run+1, verb, r.Code, time.Since(start).Round(100*time.Millisecond))
			if r.Code != ui.ExitDone {
				failed++
				t.Errorf("run %d: %.40s exits %d:\n%s%s", run+1, verb, r.Code, r.Stdout, r.Stderr)
			}
		}
	}
	throttled := strings.Count(s.Read(s.bastion, "/run/sshd.log"), "past MaxStartups")
	t.Logf("%d runs with %d peers: %d failed; sshd tells of %d dropped", runs, peers, failed, throttled)
}
