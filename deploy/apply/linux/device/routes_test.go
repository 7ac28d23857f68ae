package device

import (
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	wireguard "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"wgkeys/deploy/lab/labtest"
)

// opened counts how often the device opens its sockets, which it does whenever it forgets
// its source addresses.
type opened struct {
	conn.Bind
	times atomic.Int32
}

func (o *opened) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	o.times.Add(1)
	return o.Bind.Open(port)
}

// grows waits until the count is greater than than, for atMost.
func (o *opened) grows(than int32, atMost time.Duration) bool {
	for end := time.Now().Add(atMost); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if o.times.Load() > than {
			return true
		}
	}
	return false
}

// ownNetwork moves the test into a new network namespace, and returns a function that runs
// ip(8) there.
func ownNetwork(t *testing.T) func(args string) {
	t.Helper()
	labtest.Require(t, "ip")
	labtest.OwnNetwork(t)
	return func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
}

// addLocal adds IPv6 addresses to the loopback device, and waits until packets to them arrive:
// the kernel's worker adds their routes after ip(8) has ended (addrconf_dad_work). Until then
// what is sent there is lost without an error.
func addLocal(t *testing.T, addrs ...string) {
	t.Helper()
	ip := func(args ...string) string {
		out, err := exec.Command("ip", append([]string{"-6"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip -6 %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	ip("link", "set", "lo", "up")
	for _, addr := range addrs {
		ip("address", "add", addr+"/128", "dev", "lo", "nodad")
		for !strings.Contains(ip("route", "show", "table", "local"), "local "+addr+" ") {
			time.Sleep(time.Millisecond)
		}
	}
}

// A route that comes or goes makes the device forget its source addresses, once for many
// routes, and not if it leads through the tunnel itself.
func TestFollowRoutes(t *testing.T) {
	ip := ownNetwork(t)
	ip("link add wg0 type veth peer name far0")
	ip("link add up0 type veth peer name far1")
	for _, name := range []string{"wg0", "far0", "up0", "far1"} {
		ip("link set " + name + " addrgenmode none up") // without automatic IPv6 routes
	}
	own := newBind()
	sockets := &opened{Bind: own}
	d := wireguard.NewDevice(tuntest.NewChannelTUN().TUN(), sockets, wireguard.NewLogger(wireguard.LogLevelSilent, ""))
	defer d.Close()
	if err := d.Up(); err != nil {
		t.Fatal(err)
	}
	if err := followRoutes(d, own, "wg0"); err != nil {
		t.Fatal(err)
	}
	// Wait for the effects of the links' own routes.
	for sockets.grows(sockets.times.Load(), 500*time.Millisecond) {
	}
	for _, c := range []struct {
		change  string
		follows bool
	}{
		{"-4 route add 198.51.100.0/24 dev up0", true},
		{"-4 route add 203.0.113.0/24 dev wg0", false},
		{"-6 route add 2001:db8:1::/48 dev up0", true},
		{"-6 route add 2001:db8:2::/48 dev wg0", false},
		{"-6 route del 2001:db8:2::/48 dev wg0", false},
		{"-6 route del 2001:db8:1::/48 dev up0", true},
		{"-4 route add unreachable 198.18.0.0/15", true},
		{"-4 rule add priority 100 from 198.51.100.1 lookup 100", true},
		{"-6 rule add priority 100 from 2001:db8::1 lookup 100", true},
	} {
		before := sockets.times.Load()
		ip(c.change)
		wait := 500 * time.Millisecond
		if c.follows {
			wait = 10 * time.Second
		}
		if sockets.grows(before, wait) != c.follows {
			t.Errorf("ip %s: the device follows: %t, want %t", c.change, !c.follows, c.follows)
		}
	}
}

func TestLeadsThrough(t *testing.T) {
	route := func(attributes ...*nl.RtAttr) (m syscall.NetlinkMessage) {
		m.Header.Type = unix.RTM_NEWROUTE
		m.Data = make([]byte, unix.SizeofRtMsg)
		for _, a := range attributes {
			m.Data = append(m.Data, a.Serialize()...)
		}
		return m
	}
	out := func(link uint32) *nl.RtAttr { return nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(link)) }
	table := nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(7))
	whole := route(table, out(7))
	rule := route(out(7))
	rule.Header.Type = unix.RTM_NEWRULE
	short := whole
	short.Data = whole.Data[:len(whole.Data)-6]
	for name, c := range map[string]struct {
		m    syscall.NetlinkMessage
		want bool
	}{
		"through it":               {whole, true},
		"through another":          {route(table, out(8)), false},
		"a rule that skips others": {rule, false}, // FRA_GOTO has the number of RTA_OIF
		"through none":             {route(table), false},
		"an interface too short":   {route(nl.NewRtAttr(unix.RTA_OIF, []byte{7})), false},
		"no message":               {syscall.NetlinkMessage{}, false},
		"cut off":                  {short, false},
	} {
		if got := leadsThrough(c.m, 7); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
