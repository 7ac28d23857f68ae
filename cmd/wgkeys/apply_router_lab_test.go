package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// withLAN gives shale a second link, lan0, to a host of its own.
func withLAN(u *labtest.Users) *lab.Host {
	u.Helper()
	lan, err := u.Host("lan")
	if err == nil {
		err = u.Link(u.Shale, "lan0", lan, "eth0")
	}
	if err != nil {
		u.Fatal(err)
	}
	return lan
}

// believesRouter has a host on a link of shale's say that it is a router, and reports
// whether shale believes it. That the advertisement came the counter of the
// interface shows.
func believesRouter(u *labtest.Users, h *lab.Host, when string) bool {
	u.Helper()
	const seen = "awk '$1 == \"Icmp6InRouterAdvertisements\" { print $2 }' /proc/net/dev_snmp6/lan0"
	before := u.Must(u.Shale, seen)
	stop, err := h.Advertise("eth0", lab.Advertisement{
		Lifetime: 30 * time.Minute, Prefix: netip.MustParsePrefix("2001:db8:666::/64"), OnLink: true, Autonomous: true})
	if err != nil {
		u.Fatal(err)
	}
	defer stop()
	err = lab.Until(u.Context(), "the advertisement to come", func(context.Context) (bool, error) {
		return u.Must(u.Shale, seen) != before, nil
	})
	if err != nil {
		u.Fatal(err)
	}
	routes := u.Must(u.Shale, "ip -6 route show dev lan0")
	u.Run(u.Shale, "ip -6 route flush proto ra dev lan0; ip -6 route flush proto kernel dev lan0 2001:db8:666::/64")
	u.Logf("%s: %s", when, strings.ReplaceAll(routes, "\n", "; "))
	return strings.Contains(routes, "default")
}

// A router ignores the advertisements of others. With forward = true it goes on
// ignoring them: else whoever is on a link of it took its default route.
func TestLabApplyRouterIgnoresAdvertisements(t *testing.T) {
	t.Parallel()
	u := labtest.NewUsers(t)
	lan := withLAN(u)
	for _, r := range []struct {
		name, set, unset string
		accepts          bool
	}{
		{"a host", "true", "true", true},
		{"a router", "sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.all.forwarding=1",
			"sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1", false},
		{"a router on one link", "sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.lan0.forwarding=1",
			"sysctl -qw net.ipv6.conf.lan0.forwarding=0 net.ipv6.conf.eth0.accept_ra=1", false},
		{"deaf by accept_ra=0", "sysctl -qw net.ipv6.conf.lan0.accept_ra=0", "sysctl -qw net.ipv6.conf.lan0.accept_ra=1",
			false},
	} {
		u.Must(u.Shale, r.set)
		for _, step := range []string{"true", "wgkeys apply", "wgkeys apply", "wgkeys down"} {
			u.Must(u.Shale, step)
			if got := believesRouter(u, lan, r.name+", "+step); got != r.accepts {
				t.Errorf("%s, after %q: it takes lan's default route: %v", r.name, step, got)
			}
		}
		u.Must(u.Shale, r.unset)
	}
}

// Where the kernel has force_forwarding a host that forwards is no router: what it
// learns from advertisements, and everybody's parameters, stay as they are. It
// forwards both ways, between the tunnel, the uplink and a network behind it.
func TestLabApplyForwardsAndStaysAHost(t *testing.T) {
	t.Parallel()
	u := usersWhoForce(t)
	lan := withLAN(u)
	for h, args := range map[*lab.Host]string{u.Shale: "2001:db8:10::1/64 dev lan0", lan: "2001:db8:10::2/64 dev eth0"} {
		if err := h.IP("-6 address add " + args); err != nil {
			t.Fatal(err)
		}
	}
	if err := lan.IP("-6 route add default via 2001:db8:10::1"); err != nil {
		t.Fatal(err)
	}
	before := u.Snapshot(u.Shale)
	learnDefault(u)
	if losesDefault(u, "wgkeys apply") {
		t.Error("apply deletes the default route")
	}
	for line := range strings.Lines(demo.LineDiff(before, u.Snapshot(u.Shale))) {
		if strings.Contains(line, "net.ipv6.conf.") && !strings.Contains(line, ".wg0.") &&
			!strings.Contains(line, ".force_forwarding = ") {
			t.Errorf("apply changed %s", line)
		}
	}
	u.Must(u.Basalt, "wgkeys apply && ping -6 -c 1 -w 10 "+demo.Internet+" && ping -6 -c 1 -w 10 2001:db8:10::2")
	u.Must(lan, "ping -6 -c 1 -w 10 2001:db8:7767::2")
	const lossless = " 0% packet loss"
	for h, to := range map[*lab.Host]string{u.Basalt: demo.Internet, lan: "2001:db8:7767::2"} {
		if said := u.Must(h, "ping -6 -c 50 -i 0.01 -q "+to); !strings.Contains(said, lossless) {
			t.Errorf("%s to %s: %s", h.Name(), to, said)
		}
	}

	// Somebody resets it, with a value that all.forwarding had already.
	u.Must(u.Shale, "sysctl -qw net.ipv6.conf.all.forwarding=0")
	if r := u.Run(u.Basalt, "wgkeys status shale"); r.Code != ui.ExitFindings {
		t.Errorf("a host that does not forward any more has status %d\n%s", r.Code, r.Stdout)
	}
	u.Must(u.Shale, "wgkeys apply")
	u.Must(u.Basalt, "ping -6 -c 1 -w 10 "+demo.Internet)
	learnDefault(u)
	// What is plugged in now forwards, until the tunnel is down.
	const late = "test $(cat /proc/sys/net/ipv6/conf/late0/force_forwarding) = "
	u.Must(u.Shale, "ip link add late0 type veth peer name late1 && "+late+"1")
	if losesDefault(u, "wgkeys down") {
		t.Error("down deletes the default route")
	}
	u.Must(u.Basalt, "wgkeys down")
	u.Must(u.Shale, late+"0 && ip link del late0")
	u.Same(u.Shale, before, "after down")
}

// A host with force_forwarding that somebody else makes a router later, as a program for
// containers does when it starts, loses its default route and learns no other, for
// good. An apply has it listen again; one that was a router before is left deaf, see
// TestLabApplyRouterIgnoresAdvertisements.
func TestLabApplyMadeRouterLater(t *testing.T) {
	t.Parallel()
	u := usersWhoForce(t)
	learnDefault(u)
	u.Must(u.Shale, "wgkeys apply -q")
	if !losesDefault(u, "sysctl -qw net.ipv6.conf.all.forwarding=1") {
		t.Fatal("the kernel keeps the default route, so there is nothing to show")
	}
	const listens = "sysctl -w net.ipv6.conf.eth0.accept_ra=2"
	if r := u.Run(u.Shale, "wgkeys plan"); r.Code != ui.ExitFindings || !strings.Contains(r.Stdout, listens) {
		t.Fatalf("plan: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Shale, "wgkeys apply -q")
	learnDefault(u)
	u.Must(u.Shale, "wgkeys plan")
	u.Must(u.Basalt, "wgkeys apply -q && ping -6 -c 1 -w 10 "+demo.Internet)
	u.Must(u.Shale, "wgkeys down -q && grep -qx 1 /proc/sys/net/ipv6/conf/eth0/accept_ra")
}

// A host that an earlier version made a router: its own way back takes nobody's
// force_forwarding along.
func TestLabDownGivesForceForwardingBack(t *testing.T) {
	t.Parallel()
	u := usersWhoForce(t)
	withLAN(u)
	u.Must(u.Shale, "sysctl -qw net.ipv6.conf.lan0.force_forwarding=1")
	before := u.Snapshot(u.Shale)
	// Another tunnel's journal, of a version that knew no other way.
	const journal = `mkdir -p /run/wgkeys; printf 'wgkeys journal 1\n+\tsysctl net/ipv6/conf/all/forwarding\t0\t1\n' >/run/wgkeys/old.journal`
	u.Must(u.Shale, journal+"; wgkeys apply -t wg0; rm /run/wgkeys/old.journal")
	if got := u.Must(u.Shale,
		"sysctl -n net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.force_forwarding"); got != "1\n0\n" {
		t.Errorf("beside a router of an earlier version it forwards another way: %q", got)
	}
	if out := u.Must(u.Shale, "wgkeys plan"); out != "" {
		t.Errorf("the second plan is not empty:\n%s", out)
	}
	u.Must(u.Shale, "wgkeys down")
	u.Same(u.Shale, before, "after down")
}
