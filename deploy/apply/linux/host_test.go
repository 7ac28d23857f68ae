package linux_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/deploy/tunnel"
)

func TestMain(m *testing.M) {
	daemon.Main(device.Process)
	if os.Args[0] == otherUserName {
		otherUser()
	}
	labtest.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A host is a network namespace that the test's thread is in, with directories of its own
// for keys, journals and sockets. It ends with the test, because the thread is not reused.
type host struct {
	*linux.Kernel
	journals, keys string
}

// newHost makes a host with an uplink, eth0, and default routes of both families.
func newHost(t testing.TB) *host {
	t.Helper()
	if tt, ok := t.(*testing.T); ok {
		labtest.Require(tt, "wg")
	}
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET|unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, "")) // devices' sockets
	must(t, os.MkdirAll("/var/run/wireguard", 0o755))
	if path, err := exec.LookPath("resolvconf"); err == nil { // it would write to the machine's files
		must(t, unix.Mount("/dev/null", path, "", unix.MS_BIND, ""))
	}
	for _, args := range []string{
		"link set lo up",
		"link add eth0 type veth peer name far",
		"link set eth0 addrgenmode none", "link set far addrgenmode none", "link set eth0 up", "link set far up",
		"address add 192.0.2.2/24 dev eth0",
		"-6 address add 2001:db8:ffff::2/64 dev eth0 nodad",
		"route add default via 192.0.2.1",
		"-6 route add default via 2001:db8:ffff::1 metric 100",
	} {
		run(t, "ip", strings.Fields(args)...)
	}
	// The kernel's worker makes the address usable and adds its route (addrconf_dad_work).
	for !strings.Contains(run(t, "ip", "-6", "route", "show", "table", "local"), "2001:db8:ffff::2 ") {
		time.Sleep(time.Millisecond)
	}
	k, err := linux.Open()
	must(t, err)
	h := &host{k, t.TempDir(), t.TempDir()}
	t.Cleanup(func() {
		exec.Command("ip", "link", "del", "wg0").Run() // ends a device in user space
		k.Close()
	})
	return h
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// writeKey makes a key file of mode 0600.
func writeKey(t testing.TB, path string, key interface{ File() []byte }) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, key.File(), 0o600))
}

// install writes the view's key files where the host reads them.
func (h *host) install(t testing.TB, v *tunnel.View) {
	t.Helper()
	v.PrivateKeyFile = filepath.Join(h.keys, filepath.Base(v.PrivateKeyFile))
	for _, seed := range applytest.Own {
		if key := applytest.PrivateKey(seed); key.PublicKey() == v.PublicKey {
			writeKey(t, v.PrivateKeyFile, key)
		}
	}
	for i := range v.Peers {
		if p := &v.Peers[i]; p.PresharedKeyFile != "" {
			p.PresharedKeyFile = filepath.Join(h.keys, filepath.Base(p.PresharedKeyFile))
			writeKey(t, p.PresharedKeyFile, applytest.PresharedKey(p.Name))
		}
	}
}

func (h *host) plan(t testing.TB, v *tunnel.View) (*apply.Plan, *journal.Journal) {
	t.Helper()
	plan, j, err := h.tryPlan(t, v)
	must(t, err)
	return plan, j
}

func (h *host) tryPlan(t testing.TB, v *tunnel.View) (*apply.Plan, *journal.Journal, error) {
	t.Helper()
	h.install(t, v)
	j, err := journal.Open(h.journals, v.Tunnel)
	must(t, err)
	state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
	must(t, err)
	plan, err := apply.Make(v, state, j, nil)
	return plan, j, err
}

// refused returns the error with which the view is refused.
func (h *host) refused(t testing.TB, v *tunnel.View) error {
	t.Helper()
	_, _, err := h.tryPlan(t, v)
	return err
}

func (h *host) tryApply(t testing.TB, v *tunnel.View) (*apply.Plan, error) {
	t.Helper()
	plan, j := h.plan(t, v)
	return plan, apply.Run(t.Context(), h.Kernel, j, plan, func(apply.Step) {})
}

func (h *host) apply(t testing.TB, v *tunnel.View) *apply.Plan {
	t.Helper()
	plan, err := h.tryApply(t, v)
	must(t, err)
	return plan
}

func (h *host) down(t testing.TB) {
	t.Helper()
	j, err := journal.Open(h.journals, "wg0")
	must(t, err)
	state, err := h.Observe(t.Context(), "wg0", nil, j.Entries)
	must(t, err)
	must(t, apply.RunDown(context.Background(), h.Kernel, j, apply.MakeDown("wg0", state, j, nil), func(apply.Step) {}))
}

// dump returns the state of the host as its own tools print it, once the kernel's work on
// links and addresses is done.
func dump(t testing.TB) []string {
	t.Helper()
	var lines []string
	eventually(t, "links and addresses settle", func() bool {
		lines = dumpNow(t)
		return !slices.ContainsFunc(lines, func(line string) bool {
			return strings.Contains(line, " tentative ") || strings.Contains(line, "LOWERLAYERDOWN")
		})
	})
	return lines
}

func dumpNow(t testing.TB) []string {
	t.Helper()
	const script = `
		for family in 4 6; do
			printf 'addr\nlink\nroute show table all\nrule\nneigh show proxy\n' | ip -o -$family -batch -
		done
		nft list ruleset
		wg show wg0 dump 2>/dev/null`
	out, _ := exec.Command("sh", "-c", script).Output()
	var lines []string
	for line := range strings.Lines(string(out) + parameters(t)) {
		line = ages.ReplaceAllString(strings.TrimSpace(line), "")
		if f := strings.Split(line, "\t"); len(f) == 8 { // a peer's traffic
			allowed := strings.Split(f[3], ",")
			slices.Sort(allowed)
			f[3] = strings.Join(allowed, ",")
			line = strings.Join(slices.Delete(f, 4, 7), " ")
		}
		if !strings.Contains(line, "stable_secret") && !strings.Contains(line, "promote_secondaries") && line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) < 50 {
		t.Fatalf("the tools tell too little: %q", lines)
	}
	slices.Sort(lines)
	return lines
}

// parameters returns the network's kernel parameters, as sysctl(8) would print them.
func parameters(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	net := os.DirFS("/proc/sys/net")
	for _, pattern := range []string{"ipv4/conf/*/*", "ipv6/conf/*/*", "ipv4/ip_*", "ipv4/tcp_*"} {
		files, err := fs.Glob(net, pattern)
		must(t, err)
		for _, file := range files {
			if text, err := fs.ReadFile(net, file); err == nil {
				fmt.Fprintf(&b, "%s:%s\n", file, strings.TrimSpace(string(text)))
			}
		}
	}
	return b.String()
}

func diff(a, b []string) string {
	var out strings.Builder
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintf(&out, "- %s\n", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&out, "+ %s\n", line)
		}
	}
	return out.String()
}

func spelled(p *apply.Plan) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s  # %s\n", s.Change, s.Why)
	}
	return b.String()
}

func which() string {
	return fmt.Sprintf("kernel of laboratory %q, its own WireGuard: %v", lab.Kernel(), lab.HasWireGuard())
}

// eventually waits for something that another process does.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestNoDefaultRoute: on a host whose only default route is the tunnel's own, because the
// peer is on its link, a second apply has nothing to do.
func TestNoDefaultRoute(t *testing.T) {
	h, v := newHost(t), hub(1)
	run(t, "ip", "route", "del", "default")
	run(t, "ip", "-6", "route", "del", "default")
	all := netip.MustParsePrefix("0.0.0.0/0")
	v.Peers[0].Endpoint, v.Peers[0].AllowedIPs = "192.0.2.9:30567", append(v.Peers[0].AllowedIPs, all)
	v.Routes = append(v.Routes, tunnel.Route{Prefix: all, Peer: v.Peers[0].Name})
	h.apply(t, v)
	if plan, _ := h.plan(t, v); len(plan.Steps) > 0 {
		t.Errorf("a second apply has steps: %v", plan.Steps)
	}
	h.down(t)
}
