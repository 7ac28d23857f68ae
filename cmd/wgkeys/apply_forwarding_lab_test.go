package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// Linux drops the default routes learned from router advertisements the moment
// forwarding is turned on, unless the uplink's own accept_ra is 2 by then
// (addrconf_fixup_forwarding, rt6_purge_dflt_routers). The next advertisement
// hides that it ever happened, so the kernel's own messages are listened to.
//
// With force_forwarding nothing is dropped in whichever order.
func TestLabApplyForwardingOrder(t *testing.T) {
	u := labtest.FirstUsers(t)
	var commands []string
	for line := range strings.Lines(u.Run(u.Shale, "wgkeys plan").Stdout) {
		if command, _, _ := strings.Cut(line, "  #"); strings.HasPrefix(command, "sysctl ") {
			commands = append(commands, command)
		}
	}
	reversed := slices.Clone(commands)
	slices.Reverse(reversed)
	for _, c := range []struct {
		name, script string
		lost         bool
	}{
		{"forwarding alone", "sysctl -w net.ipv6.conf.all.forwarding=1", true},
		{"the plan backwards", strings.Join(reversed, "\n"), !forcesForwarding(u)},
		{"the plan", strings.Join(commands, "\n"), false},
	} {
		learnDefault(u)
		if got := losesDefault(u, c.script); got != c.lost {
			t.Errorf("%s: the default route is lost: %v, want %v\n%s", c.name, got, c.lost, c.script)
		}
		u.Must(u.Shale, unforward)
	}
	learnDefault(u)
	for _, script := range []string{"wgkeys apply", "wgkeys down"} {
		if losesDefault(u, script) {
			t.Errorf("%s loses the default route", script)
		}
	}
}

// unforward has shale forward IPv6 no more, in neither way.
const unforward = "sysctl -eqw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.default.force_forwarding=0 net.ipv6.conf.eth0.accept_ra=1"

// usersWhoForce are the first users where the kernel has force_forwarding. On an older one
// there is nothing to test.
func usersWhoForce(t *testing.T) *labtest.Users {
	t.Helper()
	u := labtest.NewUsers(t)
	if !forcesForwarding(u) {
		t.Skip("this kernel has no force_forwarding (Linux 6.17)")
	}
	return u
}

// forcesForwarding reports whether shale forwards by force_forwarding (Linux 6.17).
func forcesForwarding(u *labtest.Users) bool {
	return u.Run(u.Shale, "test -e /proc/sys/net/ipv6/conf/default/force_forwarding").Code == 0
}

// forwardingOf is what apply sets on shale to forward IPv6, as sysctl(8) shows it.
func forwardingOf(u *labtest.Users) string {
	if forcesForwarding(u) {
		return "net.ipv6.conf.eth0.force_forwarding"
	}
	return "net.ipv6.conf.all.forwarding"
}

// learnDefault has shale learn its default route again. The kernel looks for
// routes to drop once after it has learned one, and no more if it found none
// (RT6_TABLE_HAS_DFLT_ROUTER): a route that was left alone once proves nothing.
func learnDefault(u *labtest.Users) {
	u.Helper()
	u.Run(u.Shale, "ip -6 route del default proto ra")
	if err := u.Shale.WaitRoute(u.Context(), "-6 default proto ra"); err != nil {
		u.Fatal(err)
	}
}

// losesDefault reports whether shale was without its default route, be it for
// a moment, while script ran. A route of our own, added before and removed
// after, proves that the monitor listened all the time.
func losesDefault(u *labtest.Users, script string) bool {
	u.Helper()
	ctx, cancel := context.WithCancel(u.Context())
	defer cancel()
	var heard safeBuffer
	monitor := u.Shale.Command(ctx, "ip", "-6", "monitor", "route")
	monitor.Stdout = &heard
	if err := monitor.Start(); err != nil {
		u.Fatal(err)
	}
	defer monitor.Wait()
	defer cancel()
	const mark = "2001:db8:aaaa::/48"
	defer u.Run(u.Shale, "ip -6 route del "+mark+" metric 1 dev lo")
	err := lab.Until(ctx, "the monitor to listen", func(context.Context) (bool, error) {
		u.Must(u.Shale, "ip -6 route del "+mark+" metric 1 dev lo 2>/dev/null; ip -6 route add "+mark+" metric 1 dev lo")
		return strings.Contains(heard.String(), mark), nil
	})
	if err != nil {
		u.Fatal(err)
	}
	u.Must(u.Shale, script)
	const end = "2001:db8:bbbb::/48"
	u.Must(u.Shale, "ip -6 route add "+end+" dev lo; ip -6 route del "+end+" dev lo")
	err = lab.Until(ctx, "the monitor to end", func(context.Context) (bool, error) {
		return strings.Contains(heard.String(), "Deleted "+end), nil
	})
	if err != nil {
		u.Fatal(err)
	}
	return strings.Contains(heard.String(), "Deleted default ")
}

// A safeBuffer is written to by a command and read meanwhile.
type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestLabApplyForwardsByEachLink: a host that is a router already may have new interfaces, and
// an uplink, that do not forward.
func TestLabApplyForwardsByEachLink(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	file := strings.Replace(defaultRouteTunnel, "0.0.0.0/0", "192.0.2.0/24", 1)
	u.Tunnel(file)
	u.Must(u.Shale, "sysctl -qw net.ipv4.ip_forward=1 && sysctl -qw net.ipv4.conf.default.forwarding=0 net.ipv4.conf.eth0.forwarding=0")
	before := u.Snapshot(u.Shale)
	u.Must(u.Basalt, "wgkeys apply -q shale")
	const own = "sysctl -n net.ipv4.conf.wg0.forwarding net.ipv4.conf.eth0.forwarding"
	if got := u.Must(u.Shale, own); got != "1\n1\n" {
		t.Errorf("after apply the two are %q", got)
	}
	u.Must(u.Shale, "sysctl -qw net.ipv4.conf.wg0.forwarding=0")
	u.Must(u.Basalt, "wgkeys apply -q shale")
	if got := u.Must(u.Shale, own); got != "1\n1\n" {
		t.Errorf("once somebody has turned it off on wg0, apply leaves %q", got)
	}
	other := strings.NewReplacer("30567", "30568", "10.7.0.", "10.8.0.", "192.0.2.0/24", "192.0.2.0/25").Replace(file)
	u.Write(u.Basalt, "/root/net/tunnels/wg1.toml", other)
	u.Must(u.Basalt, "wgkeys gen -q -t wg1 shale basalt && wgkeys push -q -t wg1 shale && wgkeys apply -q -t wg1 shale")
	u.Must(u.Shale, "wgkeys down -q -t wg0")
	if got := u.Must(u.Shale, "sysctl -n net.ipv4.conf.wg1.forwarding net.ipv4.conf.eth0.forwarding"); got != "1\n1\n" {
		t.Errorf("for the other tunnel, down of the first leaves %q", got)
	}
	u.Must(u.Shale, "wgkeys down -q -t wg1")
	u.Same(u.Shale, before, "after both are down")
}
