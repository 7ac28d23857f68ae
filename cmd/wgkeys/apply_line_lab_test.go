package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// A line is the link of a provider's customer, as ppp0 is: packets of IP, no router that
// has an address on it, and an end that is another interface each time it is dialled.
type line struct {
	u    *labtest.Users
	ends []*os.File
}

// tunAt makes an interface of packets of IP.
func tunAt(u *labtest.Users, h *lab.Host, name string) *os.File {
	u.Helper()
	return labtest.InNetwork(u.T, h, func() (*os.File, error) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		return os.NewFile(uintptr(fd), name), err
	})
}

// dial makes both ends. The customer gets an address and a default route without a gateway.
func (l *line) dial(addr string) {
	l.u.Helper()
	l.ends = []*os.File{tunAt(l.u, l.u.Basalt, "ppp0"), tunAt(l.u, l.u.Router, "ppp9")}
	for i, from := range l.ends {
		go func() {
			for packet := make([]byte, 2048); ; {
				n, err := from.Read(packet)
				if err != nil {
					return
				}
				l.ends[1-i].Write(packet[:n]) // an end that is down loses it, as a line does
			}
		}()
	}
	l.u.Must(l.u.Router, "ip address add 192.0.2.254 peer "+addr+" dev ppp9 && ip link set ppp9 up mtu 1492")
	l.u.Must(l.u.Basalt, "ip address add "+addr+" peer 192.0.2.254 dev ppp0 && ip link set ppp0 up mtu 1492 && ip route add default dev ppp0")
}

func (l *line) hangUp() {
	for _, end := range l.ends {
		end.Close()
	}
}

// TestLabApplyLine: the uplink is a line whose default route has no gateway. It goes, and
// comes again as another interface with another address: the tunnel follows by itself,
// with everything of the host's or only some of it, and nothing has to be applied again.
// While it is gone nothing leaves in the clear, and down leaves nothing.
func TestLabApplyLine(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Must(u.Router, "ip address add "+internet4+"/32 dev lo; ip -6 route add 2001:db8:5::/64 dev shale0")
	u.Must(u.Basalt, "ip link set eth0 down")
	before := u.Snapshot(u.Basalt)
	l := &line{u: u}
	l.dial("198.18.0.10")
	for name, tunnel := range map[string]string{
		"some": strings.Replace(wholeTunnel, `"0.0.0.0/0", "::/0"`, `"198.51.100.0/24", "2001:db8:ffff::/48"`, 1),
		"all":  wholeTunnel,
	} {
		u.Tunnel(tunnel)
		u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
		l.reaches(name)
		for _, addr := range []string{"198.18.0.11", "198.18.0.10"} {
			l.hangUp()
			u.Until("the line's end", func() bool { return u.Run(u.Basalt, "ip link show ppp0").Code != 0 })
			if r := u.Run(u.Basalt, "ping -n -q -c 1 -w 1 "+internet4); r.Code == 0 {
				t.Errorf("%s: without the line: %s", name, r.Stdout)
			}
			if r := u.Run(u.Basalt, "wgkeys plan"); !strings.Contains(r.Stderr, "nothing can be sent to shale at 93.93.130.7") {
				t.Errorf("%s: without the line plan says\n%s%s", name, r.Stdout, r.Stderr)
			}
			l.dial(addr)
			l.reaches(name + " by " + addr)
		}
		u.Must(u.Basalt, "wgkeys down -q")
	}
	l.hangUp()
	u.Until("the line's end", func() bool { return u.Run(u.Basalt, "ip link show ppp0").Code != 0 })
	u.Same(u.Basalt, before, "after down")
}

func (l *line) reaches(when string) {
	l.u.Helper()
	for _, addr := range []string{internet4, demo.Internet} {
		if r := l.u.Run(l.u.Basalt, "ping -n -q -M do -s 1372 -c 1 -w 40 "+addr); r.Code != 0 {
			l.u.Errorf("%s: basalt does not reach %s: %s%s", when, addr, r.Stdout, r.Stderr)
		}
	}
	if r := l.u.Run(l.u.Basalt, "wgkeys plan"); r.Code != ui.ExitDone || strings.Contains(r.Stderr, "finding") {
		l.u.Errorf("%s: plan exits %d and says\n%s%s", when, r.Code, r.Stdout, r.Stderr)
	}
}
