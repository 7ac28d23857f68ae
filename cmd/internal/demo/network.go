package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"wgkeys/deploy/lab"
)

// The first users' network, from documentation prefixes but for shale's address:
//
//	basalt eth0 ── basalt0 router shale0 ── eth0 shale
//	192.0.2.10/24            │            93.93.130.7/24, and IPv6 from router
//	IPv4 only                │            advertisements of 2001:db8:5::/64
//	              "the internet": 2001:db8:ffff::1
//
// The provider routes 2001:db8:7767::/64 to shale.
const (
	Internet  = "2001:db8:ffff::1"
	ShaleAddr = "93.93.130.7"
)

const FirstTunnel = `listen_port = 30567                  # 0x7767, "wg"; for every host of the tunnel

[hosts.shale]
ssh       = "root@93.93.130.7"       # where push goes; the host's name if left out
endpoint  = "93.93.130.7"            # OUTSIDE (port: listen_port)
routes    = ["::/0"]                 # INSIDE: what peers reach through this host
forward   = true                     # a router: forwarding on, RAs kept on its uplink

[hosts.basalt]
addresses = ["2001:db8:7767::2/128"] # INSIDE
`

// A Network is the first users' three hosts.
type Network struct {
	*lab.Lab
	Basalt, Shale, Router *lab.Host
}

// NewNetwork makes the hosts, with this program installed on basalt and shale, and lets
// basalt log in to shale.
func NewNetwork(ctx context.Context) (n *Network, err error) {
	l, err := lab.New()
	if err != nil {
		return nil, err
	}
	n = &Network{Lab: l}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := n.makeHosts(); err != nil {
		return nil, err
	}
	if err := n.connect(ctx); err != nil {
		return nil, err
	}
	if err := n.Shale.StartSSHD(ctx); err != nil {
		return nil, err
	}
	return n, n.Trust(ctx, n.Basalt, n.Shale)
}

func (n *Network) makeHosts() (err error) {
	for _, h := range []struct {
		name string
		host **lab.Host
	}{{"basalt", &n.Basalt}, {"shale", &n.Shale}, {"router", &n.Router}} {
		if *h.host, err = n.Host(h.name); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return errors.Join(n.Basalt.Install("wgkeys", self), n.Shale.Install("wgkeys", self))
}

// connect makes the links and waits until shale has learned its default route.
func (n *Network) connect(ctx context.Context) error {
	err := errors.Join(
		n.Link(n.Basalt, "eth0", n.Router, "basalt0"),
		n.Link(n.Shale, "eth0", n.Router, "shale0"),
	)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		host *lab.Host
		args string
	}{
		{n.Router, "address add 192.0.2.1/24 dev basalt0"},
		{n.Router, "address add 93.93.130.1/24 dev shale0"},
		{n.Router, "address add " + Internet + "/128 dev lo"},
		{n.Basalt, "address add 192.0.2.10/24 dev eth0"},
		{n.Basalt, "route add default via 192.0.2.1"},
		{n.Shale, "address add " + ShaleAddr + "/24 dev eth0"},
		{n.Shale, "route add default via 93.93.130.1"},
	} {
		if err := c.host.IP(c.args); err != nil {
			return err
		}
	}
	if _, err := n.Router.Run(ctx, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1",
		"net.ipv6.conf.all.forwarding=1"); err != nil {
		return err
	}
	if _, err := n.Router.Advertise("shale0", lab.Advertisement{
		Lifetime: 30 * time.Minute, Prefix: netip.MustParsePrefix("2001:db8:5::/64"), OnLink: true, Autonomous: true,
	}); err != nil {
		return err
	}
	if err := n.Shale.WaitRoute(ctx, "-6 default proto ra"); err != nil {
		return err
	}
	if err := n.Shale.WaitAddresses(ctx); err != nil {
		return err
	}
	return n.routeToShale(ctx)
}

// routeToShale adds the provider's route for the prefix that is shale's.
func (n *Network) routeToShale(ctx context.Context) error {
	out, err := n.Shale.Run(ctx, "ip", "-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link")
	if err != nil {
		return err
	}
	f := strings.Fields(out)
	if len(f) < 4 {
		return fmt.Errorf("shale has no link-local address: %s", out)
	}
	local, _, _ := strings.Cut(f[3], "/")
	return n.Router.IP("-6 route add 2001:db8:7767::/64 via " + local + " dev shale0")
}
