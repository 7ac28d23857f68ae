package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/ssh/sshtest"
	"wgkeys/keyring/words"
)

// A root is a Debian of its own on shale's network, with its own sshd at port 2222, as
// testdata/setup/roots.sh made it. What is written to it is gone with the test.
type root struct {
	*labtest.Users
	name   string
	work   string // on a tmpfs of its own, with the layer of what is written
	booted bool   // by its own systemd
	stop   func()
}

const rootPort = "2222"

// rootTunnel is the first users' tunnel with shale at that port, and an address for it.
var rootTunnel = strings.NewReplacer(
	`"root@93.93.130.7" `, `"ssh://root@93.93.130.7:`+rootPort+`" `,
	"forward   = true", "forward = true\naddresses = [\"2001:db8:7767::1/128\"]",
).Replace(demo.FirstTunnel)

func newRoot(t *testing.T, name string, booted bool) *root {
	lower, err := filepath.Abs("../../.lab/roots/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lower + ".complete"); err != nil {
		t.Skipf("no .lab/roots/%s: make installs", name)
	}
	r := &root{Users: labtest.NewUsers(t), name: name, work: t.TempDir(), booted: booted}
	r.Must(r.Shale, "rm /usr/local/bin/wgkeys; rm -r /etc/wireguard/* /root/net")
	r.Must(r.Basalt, "rm /etc/wireguard/*")
	r.Tunnel(rootTunnel)
	mount := `set -e
		mount -t tmpfs tmpfs "$1"; mkdir "$1/upper" "$1/work" "$1/root"
		mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"`
	r.sh(mount, r.work, lower)
	t.Cleanup(func() { r.sh(`umount -R "$1/root"; umount "$1"`, r.work) })
	r.admit()
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// sh runs a script on the machine itself.
func (r *root) sh(script string, args ...string) {
	r.Helper()
	if out, err := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...).CombinedOutput(); err != nil {
		r.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// admit lets basalt's root in, who knows the host key.
func (r *root) admit() {
	r.Helper()
	key := r.Read(r.Basalt, "/root/.ssh/id_ed25519.pub")
	r.sh(`set -e; cd "$1/root"; mkdir -p root/.ssh; chmod 700 root/.ssh; echo "$2" >root/.ssh/authorized_keys
		rm -f etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N "" -f etc/ssh/ssh_host_ed25519_key
		mkdir -p etc/ssh/sshd_config.d; echo Port `+rootPort+` >etc/ssh/sshd_config.d/port.conf
		echo shale >etc/hostname; : >etc/machine-id`, r.work, key)
	public, err := os.ReadFile(filepath.Join(r.work, "root/etc/ssh/ssh_host_ed25519_key.pub"))
	if err != nil {
		r.Fatal(err)
	}
	r.Must(r.Basalt, "mkdir -p /root/.ssh; echo '["+demo.ShaleAddr+"]:"+rootPort+" "+strings.TrimSpace(string(public))+
		"' >>/root/.ssh/known_hosts")
}

// start boots the root's own systemd, or starts nothing but its sshd, in shale's network.
func (r *root) start() {
	r.Helper()
	network := "/proc/" + strconv.Itoa(r.Shale.PID()) + "/ns/net"
	script := `mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount --rbind /dev "$1/dev"
		mount -t tmpfs -o mode=755 tmpfs "$1/run"; mkdir -p "$1/run/sshd"
		exec chroot "$1" /usr/sbin/sshd -D -e`
	cmd := exec.Command("nsenter", "--net="+network, "unshare", "-m", "-u", "-p", "-f", "--kill-child", "sh", "-ec",
		script, "sh", r.work+"/root")
	if r.booted {
		cmd = exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe",
			"--directory="+r.work+"/root",
			"--network-namespace-path="+network, "--capability=CAP_NET_ADMIN", "--bind=/dev/net/tun", "--boot")
		cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	r.stop = func() {
		stdin.Close()
		cmd.Process.Signal(unix.SIGTERM) // which systemd-nspawn takes for a poweroff
		select {
		case <-ended:
		case <-time.After(labtest.Patience):
			cmd.Process.Kill()
			<-ended
		}
	}
	r.Eventually(func() bool { return r.Run(r.Basalt, r.ssh("true")).Code == 0 })
	if res := r.Run(r.Basalt, r.ssh("true")); res.Code != 0 {
		r.Fatalf("%s lets nobody in: %s\n%s", r.name, res.Stderr, said.String())
	}
}

// ssh is the line that runs a script in the root.
func (r *root) ssh(script string) string {
	return "ssh -p " + rootPort + " root@" + demo.ShaleAddr + " " + words.Quote(script)
}

func (r *root) there(script string) string {
	r.Helper()
	return r.Must(r.Basalt, r.ssh(script))
}

// listing is all files of the root, with mode, owner and content.
func (r *root) listing() string {
	r.Helper()
	return r.there(`find / -xdev ! -path '/proc/*' ! -path '/tmp/*' ! -path '/var/log/*' ! -path '/var/tmp/*' ! -path '/var/lib/systemd/*' \
			-exec stat -c '%A %u %g %n' {} + | sort
		find /etc /usr/local /opt /root -xdev -type f -exec sha256sum {} + | sort -k 2
		ls -A /run/wgkeys 2>/dev/null || true`)
}

func (r *root) pings(when string) {
	r.Helper()
	if res := r.Run(r.Basalt,
		"ping -6 -n -c 1 -w 20 2001:db8:7767::1 && ping -6 -n -c 1 -w 20 "+demo.Internet); res.Code != 0 {
		r.Errorf("%s: nothing answers %s: %s%s", r.name, when, res.Stdout, res.Stderr)
	}
}

// TestLabInstallRoots: the program comes to a Debian of every kind, brings the tunnel up and
// up again after a reboot, is upgraded under traffic, and goes without a trace. Recorded in
// doc/measured/install.md.
func TestLabInstallRoots(t *testing.T) {
	if !long("installs") {
		t.Skip("it takes -long installs, and the roots that make installs makes")
	}
	for _, tt := range []struct {
		name   string
		root   string
		booted bool
		files  string // by which it comes up at boot
		reboot func(*root)
	}{
		{"Debian 12 with ifupdown", "debian12", false, "/etc/network/if-up.d/wgkeys", (*root).rebootIfupdown},
		{"busybox and OpenRC", "openrc", false, "/etc/init.d/wgkeys /etc/runlevels/default/wgkeys", (*root).rebootOpenRC},
		{"Debian 12 with systemd", "debian12", true, "/etc/systemd/system/multi-user.target.wants/wgkeys@wg0.service",
			(*root).rebootSystemd},
		{"Debian 13 with systemd", "debian13", true, "/etc/systemd/system/multi-user.target.wants/wgkeys@wg0.service",
			(*root).rebootSystemd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoot(t, tt.root, tt.booted)
			t.Logf("%s", r.there("uname -rm; cat /etc/debian_version; ls -l /bin/sh"))
			before, network := r.listing(), r.Snapshot(r.Shale)
			t.Logf("%s", r.Must(r.Basalt, "wgkeys install --up shale basalt 2>&1 | grep -v '  #'"))
			r.pings("after install --up")
			r.there("ls -d " + tt.files)
			tt.reboot(r)
			r.pings("after the reboot")
			r.upgrade()
			if res := r.Run(r.Basalt, "wgkeys uninstall --keys -y shale"); res.Code != ui.ExitDone {
				t.Errorf("uninstall exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
			}
			if diff := demo.LineDiff(before, r.listing()); diff != "" {
				t.Errorf("uninstall leaves a difference:\n%s", diff)
			}
			r.Same(r.Shale, network, "after uninstall")
		})
	}
}

// upgrade replaces the program there under a thousand packets a second each way.
func (r *root) upgrade() {
	r.Helper()
	flows := r.Flows(r.Basalt, r.Shale, "2001:db8:7767::2", "2001:db8:7767::1", time.Millisecond)
	labtest.WaitFlowing(r.T, flows[0], flows[1])
	r.Must(r.Basalt, "mkdir -p /root/new && cp /usr/local/bin/wgkeys /root/new/ && echo newer >>/root/new/wgkeys")
	res := r.Run(r.Basalt, "/root/new/wgkeys install shale")
	if res.Code != ui.ExitDone || !strings.HasPrefix(res.Stdout, "/usr/local/bin/wgkeys replaced") {
		r.Errorf("the upgrade exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	}
	for _, f := range flows {
		n := f.Count()
		if n.Lost != 0 || n.Sent == 0 {
			r.Errorf("%s: %v", f.Name, n)
		}
		r.Logf("upgrade, %s: %v", f.Name, n)
	}
}

// lose takes what a reboot does.
const lose = "/usr/local/bin/wgkeys down -q && rm -r /run/wgkeys"

func (r *root) rebootIfupdown() {
	r.there(lose)
	r.there(`mv /etc/network/interfaces /etc/network/before
		mkdir -p /run/network; printf 'auto lo\niface lo inet loopback\n' >/etc/network/interfaces; ifup -a
		rm -r /run/network; mv /etc/network/before /etc/network/interfaces`)
}

func (r *root) rebootOpenRC() {
	r.there(lose)
	// As OpenRC itself makes them when it boots a machine (rc_dirnames in librc.c).
	r.there(`cd /run && mkdir openrc && cd openrc && mkdir starting started stopping inactive wasinactive failed hotplugged \
			daemons options exclusive scheduled init.d tmp && echo default >softlevel && rc-service --nodeps wgkeys start`)
	r.pings("after the start of OpenRC's service")
	r.there("rc-service --nodeps wgkeys reload && rc-service wgkeys status")
	r.there("rc-service wgkeys stop")
	if r.Run(r.Shale, "ip link show wg0").Code == 0 {
		r.Error("the tunnel is up though the service was stopped")
	}
	r.there("rc-service --nodeps wgkeys start")
}

func (r *root) rebootSystemd() {
	r.there("/usr/local/bin/wgkeys down -q") // the network is shale's, and stays
	r.stop()
	r.start()
	r.Eventually(func() bool { return r.Run(r.Basalt, r.ssh("systemctl is-active -q wgkeys@wg0")).Code == 0 })
	r.there("systemctl is-active wgkeys@wg0 || { systemctl status wgkeys@wg0; journalctl -b -u wgkeys@wg0; false; }")
	r.sandboxed()
}

// sandboxed: what the units forbid themselves is nothing that they need. The container has no
// udev that would tell of the interface, so that the unit of the device is stopped by hand.
func (r *root) sandboxed() {
	r.Helper()
	r.there("systemctl start wgkeys-names@wg0")
	r.pings("after wgkeys-names@wg0")
	r.there(`sed '/^BindsTo=/d; /^After=/d' /etc/systemd/system/wgkeys-device@.service >/run/systemd/system/trial-device@.service
		systemctl daemon-reload; systemctl start trial-device@wg0; ip link del wg0; systemctl stop trial-device@wg0
		rm /run/systemd/system/trial-device@.service; systemctl daemon-reload`)
	r.Eventually(func() bool { return r.Run(r.Basalt, r.ssh("ip link show wg0")).Code == 0 })
	r.pings("after the interface was deleted and its unit was stopped")
	if said := r.there("journalctl -b -q -p warning -u 'wgkeys*' -u 'trial*'"); said != "" {
		r.Errorf("the units say:\n%s", said)
	}
	// The device is a process of the unit: the program's in memory, and its sandbox's.
	r.Logf("%s", r.there(`systemctl show -p MainPID,ControlGroup wgkeys@wg0
		for pid in $(cat /sys/fs/cgroup/system.slice/system-wgkeys.slice/wgkeys@wg0.service/cgroup.procs); do
			tr '\0' ' ' </proc/$pid/cmdline; echo; grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/$pid/status
			nsenter -t $pid -m sh -c 'ls /dev; touch /proc/sys/kernel/core_pattern /etc/x; grep -E " (/|/proc/sys|/proc/sys/net|/sys|/sys/devices/virtual/net) " /proc/self/mounts' 2>&1
		done`))
}

// TestLabInstallArm64: a host of another architecture gets the program for it from a folder,
// and without one says what to do. qemu-user runs it; what it does of netlink and tun is not
// enough for a tunnel, which is reported and leaves nothing. Recorded in doc/measured/install.md.
func TestLabInstallArm64(t *testing.T) {
	if !long("installs") {
		t.Skip("it takes -long installs, and the roots that make installs makes")
	}
	program := filepath.Join(t.TempDir(), "wgkeys")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoot(t, "arm64", false)
	if err := r.Basalt.WriteFile("/root/programs/wgkeys-linux-arm64", text, 0o755); err != nil {
		t.Fatal(err)
	}
	before := r.listing()
	t.Logf("%s", r.there("uname -rm; cat /etc/debian_version"))
	res := r.Run(r.Basalt, "wgkeys install shale")
	if res.Code != ui.ExitFailed || !strings.Contains(res.Stderr, `none is here for "arm64"`) ||
		!strings.Contains(res.Stderr, "make programs") {
		t.Errorf("without a program it exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	}
	res = r.Run(r.Basalt, "wgkeys install --programs /root/programs shale")
	if res.Code != ui.ExitDone || !strings.HasPrefix(res.Stdout, "/usr/local/bin/wgkeys installed: wgkeys ") {
		t.Errorf("install exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	}
	res = r.Run(r.Basalt, "wgkeys install --programs /root/programs shale")
	if res.Code != ui.ExitDone || !strings.HasPrefix(res.Stdout, "/usr/local/bin/wgkeys unchanged\n") {
		t.Errorf("the second install exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	}
	res = r.Run(r.Basalt, "wgkeys install --up --programs /root/programs shale")
	t.Logf("install --up exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	if res := r.Run(r.Basalt, "wgkeys uninstall --keys -y shale"); res.Code != ui.ExitDone {
		t.Errorf("uninstall exits %d: %s%s", res.Code, res.Stdout, res.Stderr)
	}
	if diff := demo.LineDiff(before, r.listing()); diff != "" {
		t.Errorf("uninstall leaves a difference:\n%s", diff)
	}
}

// TestInstallSource: Go builds the program that a host of another architecture needs, of the
// source that is named. qemu-user runs it.
func TestInstallSource(t *testing.T) {
	if !long("installs") {
		t.Skip("it takes -long installs, and qemu-user, which make installs has the kernel know")
	}
	bin := t.TempDir()
	const uname = "#!/bin/sh\ncase $1 in -s) echo Linux ;; -m) echo aarch64 ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte(uname), 0o755); err != nil {
		t.Fatal(err)
	}
	s := sshtest.Start(t, sshtest.Config{Lines: []string{"SetEnv PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin"}})
	f := newFleet(t, twoHosts, map[string]*sshtest.Server{"alpha": s})
	f.must("gen", "-q", "alpha", "beta")
	code, out, said := f.run("install", "--source", "../..", "alpha")
	if code != ui.ExitFailed || !strings.Contains(said, "cannot build the program in") {
		t.Errorf("of another folder: exits %d: %s%s", code, out, said)
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("wgkeys", "install", "--timeout", "9m", "--source", source, "alpha")
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "PATH="+f.bin+":"+os.Getenv("PATH"), "GOFLAGS=-tags=urfave_cli_no_docs")
	text, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "/usr/local/bin/wgkeys installed: wgkeys ") {
		t.Errorf("%v: %s", err, text)
	}
	t.Logf("%s", text)
}
