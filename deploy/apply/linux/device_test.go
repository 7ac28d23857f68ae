package linux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/linux/device"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
)

// devices returns the process IDs of user-space devices of that name in this network
// namespace.
func devices(t testing.TB, name string) []int {
	t.Helper()
	self, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	var pids []int
	for _, dir := range dirs {
		cmd, _ := os.ReadFile(dir + "/cmdline")
		ns, _ := os.Readlink(dir + "/ns/net")
		if ns == self && strings.HasPrefix(string(cmd), "wgkeys-device\x00"+name+"\x00") {
			pid, err := strconv.Atoi(filepath.Base(dir))
			must(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

const socket = "/var/run/wireguard/wg0.sock"

// TestDeviceWithoutInotify: if the user has no inotify instances left, the error names that
// limit. The kernel says "too many open files", which would be misleading.
func TestDeviceWithoutInotify(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	const none = "mount -t tmpfs none /run && echo 0 >/proc/sys/user/max_inotify_instances && " +
		"(exec -a wgkeys-device \"$1\" wg0 1380); ls /run/wireguard"
	limited := exec.Command("unshare", "--user", "--map-root-user", "--net", "--mount", "bash", "-c", none, "bash", self)
	out, err := limited.CombinedOutput()
	if !strings.Contains(string(out), "sysctl -w fs.inotify.max_user_instances=") {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "wg0.sock") {
		t.Errorf("its socket is left: %s", out)
	}
}

// TestDevice starts a device in user space, even where the kernel has WireGuard. The device
// and its socket go with the interface.
func TestDevice(t *testing.T) {
	h := newHost(t)
	must(t, device.Start(t.Context(), "wg0", 1380))
	if n := len(devices(t, "wg0")); n != 1 {
		t.Fatalf("%d devices", n)
	}
	if out := run(t, "wg", "show", "wg0"); !strings.Contains(out, "interface: wg0") {
		t.Errorf("wg does not see it: %s", out)
	}
	state, err := h.Observe(t.Context(), "wg0", &tunnel.View{Tunnel: "wg0"}, nil)
	must(t, err)
	if state.Link == nil || state.Link.MTU != 1380 {
		t.Errorf("the link is %+v", state.Link)
	}
	must(t, h.Do(t.Context(), []apply.Change{apply.LinkChange{Name: "wg0", Old: state.Link}}))
	eventually(t, "the device ends", func() bool { return len(devices(t, "wg0")) == 0 })
	if _, err := os.Stat(socket); err == nil {
		t.Error("its socket is left")
	}
}

// TestKilledDevice: the socket that a killed device left does not prevent the next start.
func TestKilledDevice(t *testing.T) {
	newHost(t)
	must(t, device.Start(t.Context(), "wg0", 1380))
	must(t, unix.Kill(devices(t, "wg0")[0], unix.SIGKILL))
	eventually(t, "the interface goes", func() bool {
		return exec.Command("ip", "link", "show", "wg0").Run() != nil && len(devices(t, "wg0")) == 0
	})
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("a killed device takes its socket along, so this test shows nothing: %v", err)
	}
	must(t, device.Start(t.Context(), "wg0", 1380))
	run(t, "wg", "show", "wg0")
}

// TestEndingDevice: a device that ends while it is read counts as none, however much it had
// answered.
func TestEndingDevice(t *testing.T) {
	for name, says := range map[string]string{"nothing": "", "a line": "listen_port=1\n"} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			run(t, "ip", "tuntap", "add", "wg0", "mode", "tun")
			must(t, os.MkdirAll(filepath.Dir(socket), 0o755))
			l, err := net.Listen("unix", socket)
			must(t, err)
			remove := exec.Command("sh", "-c", "read ended; sleep 0.1; ip link del wg0") // in this namespace
			ended, err := remove.StdinPipe()
			must(t, err)
			must(t, remove.Start())
			t.Cleanup(func() { remove.Wait() })
			go func() {
				defer ended.Close()
				if c, err := l.Accept(); err == nil {
					c.Write([]byte(says))
					c.Close()
				}
				l.Close()
			}()
			state, err := h.Device("wg0")
			must(t, err)
			if state.Link != nil {
				t.Errorf("there is a link: %+v", state.Link)
			}
		})
	}
}

// TestSecondDevice: a second device of the same name is refused, and the first one stays.
func TestSecondDevice(t *testing.T) {
	newHost(t)
	must(t, device.Start(t.Context(), "wg0", 1380))
	if err := device.Start(t.Context(), "wg0", 1380); err == nil {
		t.Error("there are two")
	}
	if n := len(devices(t, "wg0")); n != 1 {
		t.Errorf("%d devices are left", n)
	}
	run(t, "wg", "show", "wg0")
}

// hub returns a view with n peers.
func hub(n int) *tunnel.View {
	v := &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: publicKey(applytest.Own[0]),
		PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 30567, Addresses: applytest.Prefixes("10.0.0.1/8")}
	for i := range n {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i)+2)
		name := fmt.Sprintf("spoke-%05d", i)
		p := tunnel.Peer{Name: name, PublicKey: publicKey(name),
			AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 32)}}
		v.Peers = append(v.Peers, p)
		v.Routes = append(v.Routes, tunnel.Route{Prefix: p.AllowedIPs[0], Peer: name})
	}
	return v
}

const spokes = 10_000

// BenchmarkApplyCold applies 10,000 new peers, each with a route.
func BenchmarkApplyCold(b *testing.B) {
	h, v := newHost(b), hub(spokes)
	for b.Loop() {
		h.apply(b, v)
		b.StopTimer()
		h.down(b)
		b.StartTimer()
	}
}

// BenchmarkApplyNothing applies 10,000 peers that are there already.
func BenchmarkApplyNothing(b *testing.B) {
	h, v := newHost(b), hub(spokes)
	h.apply(b, v)
	for b.Loop() {
		if plan := h.apply(b, v); len(plan.Steps) > 0 {
			b.Fatal("there is something to do")
		}
	}
}

// BenchmarkApplyOne changes one of 10,000 peers.
func BenchmarkApplyOne(b *testing.B) {
	h, v := newHost(b), hub(spokes)
	h.apply(b, v)
	for i := 0; b.Loop(); i++ {
		v.Peers[5000].Keepalive = 1 + i%100
		h.apply(b, v)
	}
}

// TestLabManyPeers: a tunnel with thousands of peers comes up, is not changed by a second
// apply, and goes down, in a time for which a person would wait.
func TestLabManyPeers(t *testing.T) {
	peers := 2000
	if testing.Short() {
		peers = 200
	}
	h, v := newHost(t), hub(peers)
	start := time.Now()
	h.apply(t, v)
	cold := time.Since(start)
	start = time.Now()
	plan, _ := h.plan(t, v)
	if len(plan.Steps) > 0 {
		t.Errorf("%d steps the second time", len(plan.Steps))
	}
	if out := run(t, "wg", "show", "wg0", "peers"); strings.Count(out, "\n") != peers {
		t.Errorf("wg shows %d peers", strings.Count(out, "\n"))
	}
	t.Logf("%d peers from nothing in %v, a plan of nothing in %v; %s", peers, cold, time.Since(start), which())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v.Peers = v.Peers[:10]
	v.Routes = v.Routes[:10]
	short, j := h.plan(t, v)
	if err := apply.Run(ctx, h.Kernel, j, short, func(apply.Step) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	h.apply(t, v)
	if out := run(t, "wg", "show", "wg0", "peers"); strings.Count(out, "\n") != 10 {
		t.Errorf("wg shows %d peers of 10", strings.Count(out, "\n"))
	}
	h.down(t)
}

// TestNoTUN: on a host whose kernel has neither WireGuard nor TUN devices, as in many
// containers, the error says what is missing, and nothing is left of the attempt.
func TestNoTUN(t *testing.T) {
	if lab.Kernel() == "vm" {
		return // it has WireGuard
	}
	h := newHost(t)
	must(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""))
	origin := dump(t)
	v := &tunnel.View{Tunnel: "wg0", Host: "shale", PublicKey: applytest.PublicKey(applytest.Own[0]),
		PrivateKeyFile: "/etc/wireguard/wg0.key"}
	err := h.refused(t, v)
	if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "/dev/net/tun") {
		t.Errorf("%v: hints %q", err, hints)
	}
	if d := diff(origin, dump(t)); d != "" {
		t.Errorf("left behind:\n%s", d)
	}
}
