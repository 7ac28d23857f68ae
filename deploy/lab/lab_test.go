package lab_test

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
)

func TestMain(m *testing.M) {
	lab.Init()
	if len(os.Args) == 2 && os.Args[0] == holderName {
		hold()
	}
	labtest.Main(m)
}

// must ends the test if there is an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHost(t *testing.T, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	must(t, err)
	return h
}

func run(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), args...)
	must(t, err)
	return strings.TrimSpace(out)
}

// pair returns two linked hosts with addresses.
func pair(t *testing.T, l *lab.Lab) (shale, basalt *lab.Host) {
	t.Helper()
	shale, basalt = newHost(t, l, "shale"), newHost(t, l, "basalt")
	must(t, l.Link(shale, "eth0", basalt, "eth0"))
	must(t, shale.IP("address add 192.0.2.1/24 dev eth0"))
	must(t, shale.IP("-6 address add 2001:db8::1/64 dev eth0"))
	must(t, basalt.IP("address add 192.0.2.2/24 dev eth0"))
	must(t, basalt.IP("-6 address add 2001:db8::2/64 dev eth0"))
	return shale, basalt
}

func TestHostsReachEachOther(t *testing.T) {
	start := time.Now()
	l := labtest.New(t, "ping")
	shale, basalt := pair(t, l)
	slate := newHost(t, l, "slate")
	must(t, l.Link(shale, "eth1", slate, "eth0"))
	took := time.Since(start)
	run(t, basalt, "ping", "-c1", "-W2", "192.0.2.1")
	run(t, basalt, "ping", "-c1", "-W2", "2001:db8::1")
	t.Logf("three hosts and two links in %v", took.Round(time.Millisecond))
}

func TestHostIsApart(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	for _, c := range []struct{ command, want string }{
		{"hostname", "shale"},
		{"cat /etc/hostname", "shale"},
		{"ls -A /etc/wireguard /root /usr/local/bin /run/wireguard | grep -v :", ""},
		{"stat -c %a /etc/wireguard", "700"},
		{"ls /sys/class/net", "lo"},
		{"cat /sys/class/net/lo/flags", "0x9"},
		{"ls -d /proc/[0-9]* | head -1", "/proc/1"},
		{"tr '\\0' ' ' </proc/1/cmdline", "wgkeys-lab-host shale"},
		{"env | sort | head -1", "HOME=/root"},
		{"pwd", "/"},
	} {
		if got := run(t, shale, "sh", "-c", c.command+"; true"); got != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
}

func TestWritesStayOnTheHost(t *testing.T) {
	l := labtest.New(t)
	shale, basalt := newHost(t, l, "shale"), newHost(t, l, "basalt")
	for _, path := range []string{
		"/etc/wireguard/wg0.key", "/etc/wgkeys/a", "/etc/a-wgkeys-test", "/run/a-wgkeys-test",
		"/var/run/wireguard/a-wgkeys-test.sock", "/var/lib/a-wgkeys-test", "/root/a-wgkeys-test",
		"/usr/bin/a-wgkeys-test", "/usr/local/bin/a-wgkeys-test", "/var/run/new/folder/a-wgkeys-test",
	} {
		must(t, shale.WriteFile(path, []byte("mine\n"), 0o600))
		if got := run(t, shale, "cat", path); got != "mine" {
			t.Errorf("the host reads %q from %s", got, path)
		}
		if got := run(t, shale, "stat", "-c", "%a %U", path); got != "600 root" {
			t.Errorf("%s has mode %s", path, got)
		}
		if _, err := basalt.ReadFile(path); err == nil {
			t.Errorf("%s is on the other host too", path)
		}
		if _, err := os.Lstat(path); err == nil && path != "/etc/wireguard/wg0.key" {
			t.Errorf("%s is on the machine too", path)
		}
	}
}

func TestInstallAndUninstall(t *testing.T) {
	l := labtest.New(t)
	shale, basalt := newHost(t, l, "shale"), newHost(t, l, "basalt")
	must(t, shale.Install("wgkeys", "/usr/bin/env"))
	if got := run(t, shale, "sh", "-c", "command -v wgkeys"); got != "/usr/local/bin/wgkeys" {
		t.Errorf("installed at %q", got)
	}
	run(t, shale, "wgkeys", "true")
	must(t, shale.Install("sleeper", "/usr/bin/sleep"))
	run(t, shale, "sh", "-c", "sleeper 1000 >/dev/null 2>&1 &")
	must(t, shale.Install("sleeper", "/usr/bin/env")) // a running program cannot be written to
	run(t, shale, "sleeper", "true")
	must(t, shale.Uninstall("ping"))
	if out, err := shale.Run(t.Context(), "sh", "-c", "command -v ping"); err == nil {
		t.Errorf("still there: %s", out)
	}
	run(t, basalt, "sh", "-c", "command -v ping")
	if _, err := os.Stat("/usr/bin/ping"); err != nil {
		t.Error(err)
	}
}

func TestRunTellsWhoAndWhy(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	_, err := shale.Run(t.Context(), "sh", "-c", "echo no such luck >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), `"shale"`) || !strings.Contains(err.Error(),
		"exit status 3: no such luck") {
		t.Errorf("the error is %v", err)
	}
}

func TestCancelKillsTheCommand(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := shale.Run(ctx, "sleep", "1234"); err == nil {
		t.Error("the command survived")
	}
	must(t, lab.Until(t.Context(), "sleep to be gone", func(ctx context.Context) (bool, error) {
		// cat fails if a process ends meanwhile.
		out, err := shale.Run(ctx, "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
		return !strings.Contains(out, "sleep 1234"), err
	}))
}

func TestDaemonIsReaped(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	run(t, shale, "sh", "-c", "setsid sleep 0.2 >/dev/null 2>&1 &")
	must(t, lab.Until(t.Context(), "the daemon to be reaped", func(ctx context.Context) (bool, error) {
		out, err := shale.Run(ctx, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true")
		return !strings.Contains(out, "(sleep)"), err
	}))
}

func TestRefusesHosts(t *testing.T) {
	l := labtest.New(t)
	newHost(t, l, "shale")
	for _, name := range []string{"shale", "", "-x", "a/b", "Shale", "a b", strings.Repeat("a", 64)} {
		if _, err := l.Host(name); err == nil {
			t.Errorf("a host %q", name)
		}
	}
}

func TestRouterAdvertisement(t *testing.T) {
	l := labtest.New(t)
	router, shale := newHost(t, l, "router"), newHost(t, l, "shale")
	must(t, l.Link(router, "eth0", shale, "eth0"))
	_, err := router.Advertise("eth0", lab.Advertisement{
		Lifetime: time.Hour, Prefix: netip.MustParsePrefix("2001:db8:5::/64"), OnLink: true, Autonomous: true,
	})
	must(t, err)
	start := time.Now()
	must(t, shale.WaitRoute(t.Context(), "-6 default proto ra"))
	t.Logf("default route after %v: %s", time.Since(start).Round(time.Millisecond), run(t, shale, "ip", "-6", "route",
		"show", "default"))
	must(t, shale.WaitAddresses(t.Context()))
	addrs, err := shale.Addresses(t.Context())
	must(t, err)
	if len(addrs) != 1 || !netip.MustParsePrefix("2001:db8:5::/64").Contains(addrs[0].Addr()) {
		t.Errorf("the addresses made from the prefix are %v", addrs)
	}
	if route := run(t, shale, "ip", "-6", "route", "show", "2001:db8:5::/64"); !strings.Contains(route, "dev eth0") {
		t.Errorf("the on-link route is %q", route)
	}
}

// Forwarding without accept_ra=2 makes the kernel remove the default route of a router
// advertisement. The first users lost a host that way.
func TestForwardingDropsTheAdvertisedRoute(t *testing.T) {
	l := labtest.New(t)
	router, shale := newHost(t, l, "router"), newHost(t, l, "shale")
	must(t, l.Link(router, "eth0", shale, "eth0"))
	_, err := router.Advertise("eth0", lab.Advertisement{Lifetime: time.Hour})
	must(t, err)
	must(t, shale.WaitRoute(t.Context(), "-6 default proto ra"))
	run(t, shale, "sysctl", "-w", "net.ipv6.conf.all.forwarding=1")
	if routes := run(t, shale, "ip", "-6", "route", "show", "default"); routes != "" {
		t.Errorf("the kernel kept %s", routes)
	}
	run(t, shale, "sysctl", "-w", "net.ipv6.conf.eth0.accept_ra=2")
	must(t, shale.WaitRoute(t.Context(), "-6 default proto ra"))
}

func TestStopAdvertising(t *testing.T) {
	l := labtest.New(t)
	router, shale := newHost(t, l, "router"), newHost(t, l, "shale")
	must(t, l.Link(router, "eth0", shale, "eth0"))
	stop, err := router.Advertise("eth0", lab.Advertisement{Lifetime: time.Hour})
	must(t, err)
	must(t, shale.WaitRoute(t.Context(), "-6 default proto ra"))
	must(t, shale.IP("-6 route del default"))
	must(t, shale.WaitRoute(t.Context(), "-6 default proto ra"))
	stop()
	must(t, shale.IP("-6 route del default"))
	time.Sleep(1500 * time.Millisecond)
	if routes := run(t, shale, "ip", "-6", "route", "show", "default"); routes != "" {
		t.Errorf("still advertised: %s", routes)
	}
}

// A link that has just come up has no addresses yet, not even tentative ones. A link of mode
// dormant stays in that state until it is told.
func TestWaitAddressesOfALinkThatComesUp(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	must(t, shale.IP("link add extra0 type veth peer name extra1"))
	for _, args := range []string{"extra0 mode dormant", "extra0 up", "extra1 up"} {
		must(t, shale.IP("link set "+args))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := shale.WaitAddresses(ctx); err == nil {
		t.Errorf("there is nothing to wait for in\n%s", run(t, shale, "ip", "address", "show", "dev", "extra0"))
	}
	must(t, shale.IP("link set extra0 state up"))
	must(t, shale.WaitAddresses(t.Context()))
	addrs := run(t, shale, "ip", "-6", "-oneline", "address", "show", "scope", "link")
	if strings.Count(addrs, "fe80::") != 2 {
		t.Errorf("not one address for each link:\n%s", addrs)
	}
}

// The VM laboratory exists for this: the kernel has WireGuard.
func TestKernelWireGuard(t *testing.T) {
	shale := newHost(t, labtest.New(t), "shale")
	err := shale.IP("link add wg0 type wireguard")
	if lab.Kernel() == "vm" {
		must(t, err)
	}
	if has := lab.HasWireGuard(); has != (err == nil) {
		t.Errorf("HasWireGuard is %v, but: %v", has, err)
	}
}
