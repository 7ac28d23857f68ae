package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/keyring/lazyregexp"
)

const nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups wgkeys "

// A refusal is a host that apply must leave as it is, and what it says there.
type refusal struct {
	name         string
	set, command string // command: "wgkeys apply" if empty
	unset        string
	says         string // without "wgkeys: "
}

var refusals = []refusal{
	{name: "no key file", set: "mv $K /run/k", unset: "mv /run/k $K", says: `
error: cannot read key file "/etc/wireguard/wg0.key": no such file or directory
hint: wgkeys push shale`},
	{name: "a key file without key", set: "mv $K /run/k; (umask 077; : >$K)", unset: "mv /run/k $K", says: `
error: no key in key file "/etc/wireguard/wg0.key": it is empty
hint: wgkeys push shale`},
	{name: "half a key", set: "mv $K /run/k; (umask 077; head -c 20 /run/k >$K)", unset: "mv /run/k $K", says: `
error: no valid key in key file "/etc/wireguard/wg0.key": bad-length: a key is 32 bytes, one line of 44 base64 characters
hint: wgkeys push shale`},
	{name: "a key of no host", set: "mv $K /run/k; (umask 077; wg genkey >$K)", unset: "mv /run/k $K", says: `
error: wrong private key in "/etc/wireguard/wg0.key": its public key is KEY (of none of its peers), and the keyring has KEY for shale
hint: git pull, then wgkeys push shale`},
	{name: "the other host's key", set: "mv $K /run/k; cp /run/basalt.key $K", unset: "mv /run/k $K", says: `
error: wrong private key in "/etc/wireguard/wg0.key": its public key is KEY (of host basalt), and the keyring has KEY for shale
hint: git pull, then wgkeys push shale`},
	{name: "a key for all to read", set: "chmod 644 $K", unset: "chmod 600 $K", says: `
error: will not use key file "/etc/wireguard/wg0.key": others on this host can read or change it (mode -rw-r--r--)
hint: wgkeys push shale mends its mode; if strangers have accounts here, replace the key`},
	{name: "a directory", set: "mv $K /run/k; mkdir $K", unset: "rm -d $K; mv /run/k $K", says: `
error: cannot read key file "/etc/wireguard/wg0.key": it is a directory
hint: rmdir /etc/wireguard/wg0.key, then wgkeys push shale`},
	{name: "no rights to apply", command: nobody + "apply", says: `
error: cannot open the lock "/run/wgkeys/lock": permission denied
hint: run the same command as root, with sudo before it, and by its full path if sudo does not find it`},
	{name: "no rights to plan", command: nobody + "plan", says: `
error: cannot read key file "/etc/wireguard/wg0.key": permission denied
hint: run the same command as root, with sudo before it, and by its full path if sudo does not find it`},
	{name: "no rights to push", command: nobody + "push --host shale shale", says: `
error: cannot become root on host "shale": user "nobody" is not root there, and sudo says: a password is required
hint: run the same command as root, with sudo before it, and by its full path if sudo does not find it; if root lacks your ssh keys, on shale: visudo -f /etc/sudoers.d/wgkeys, and add: nobody ALL=(root) NOPASSWD: ALL; for push alone, where wgkeys is installed: nobody ALL=(root) NOPASSWD: /usr/local/bin/wgkeys receive`},
	{name: "no rights to install", command: nobody + "install --host shale shale", says: `
error: cannot become root on host "shale": user "nobody" is not root there, and sudo says: a password is required
hint: run the same command as root, with sudo before it, and by its full path if sudo does not find it; if root lacks your ssh keys, on shale: visudo -f /etc/sudoers.d/wgkeys, and add: nobody ALL=(root) NOPASSWD: ALL`},
	{name: "no rights to look", command: nobody + "status --host shale shale", says: `
error: cannot become root on host "shale": the user is not root there, and sudo says: a password is required
hint: run the same command as root, with sudo before it, and by its full path if sudo does not find it; if root lacks your ssh keys, on shale: visudo -f /etc/sudoers.d/wgkeys, and add: USER ALL=(root) NOPASSWD: ALL`},
	{name: "an interface of somebody else's", set: "ip link add wg0 type veth peer name wg0p", unset: "ip link del wg0", says: `
error: will not touch the interface "wg0": it is there already, of kind veth, and wgkeys did not make it
hint: wgkeys mv -t wg0 NEW, with another name for the tunnel; if nobody needs that interface: ip link del wg0, then run wgkeys apply again`},
	{name: "another name of somebody else's interface", set: "ip link property add dev eth0 altname wg0", unset: "ip link property del dev eth0 altname wg0", says: `
error: will not touch the interface "eth0": it has the tunnel's name, wg0, as another name of its own
hint: ip link property del dev eth0 altname wg0, or wgkeys mv -t wg0 NEW, with another name for the tunnel`},
	{name: "a route of somebody else's", set: "ip -6 route add 2001:db8:7767::2/128 dev eth0", unset: "ip -6 route del 2001:db8:7767::2/128 dev eth0", says: `
error: cannot route into tunnel wg0 the prefix "2001:db8:7767::2/128": there is already a route through eth0 of the same metric
hint: remove that one, or give this tunnel's routes another metric: metric = 512 for the host in the tunnel file`},
	{name: "what is seen before, by plan too", set: "ip -6 route add blackhole 2001:db8:7767::2/128 metric 1024", unset: "ip -6 route del blackhole 2001:db8:7767::2/128", command: "wgkeys plan", says: `
error: cannot route into tunnel wg0 the prefix "2001:db8:7767::2/128": there is already a route that leads nowhere (ip -6 route show 2001:db8:7767::2/128) of the same metric
hint: remove that one, or give this tunnel's routes another metric: metric = 512 for the host in the tunnel file`},
	{name: "a read-only /run", set: readOnlyRun, unset: "umount /run/wgkeys", says: `
error: cannot open the lock "/run/wgkeys/lock": read-only file system
hint: findmnt -T /run/wgkeys/lock shows what is mounted read-only; for a container: docker run --tmpfs /run`},
	{name: "a read-only /run, by plan too", set: readOnlyRun, unset: "umount /run/wgkeys", command: "wgkeys plan", says: `
error: cannot keep what a change does in "/run/wgkeys": read-only file system
hint: findmnt -T /run/wgkeys shows what is mounted read-only; for a container: docker run --tmpfs /run`},
	{name: "a read-only /run, by the plan of another machine", set: readOnlyRun, unset: "umount /run/wgkeys", command: "wgkeys show --json shale | wgkeys plan --view -", says: `
error: cannot keep what a change does in "/run/wgkeys": read-only file system
hint: findmnt -T /run/wgkeys shows what is mounted read-only; for a container: docker run --tmpfs /run`},
	{name: "kernel parameters read-only", set: "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys", unset: "umount /proc/sys", says: `
error: cannot set kernel parameters for tunnel "wg0": /proc/sys is mounted read-only, and it needs net.ipv6.conf.all.forwarding=1, net.ipv6.conf.default.accept_ra=2, net.ipv6.conf.eth0.accept_ra=2
hint: mount -o remount,rw,bind /proc/sys, or start the container with docker run --sysctl net.ipv6.conf.all.forwarding=1 --sysctl net.ipv6.conf.default.accept_ra=2 --sysctl net.ipv6.conf.eth0.accept_ra=2`},
	{name: "a value that the kernel refuses", set: withSysctl(`"net.ipv4.tcp_congestion_control" = "nonesuch"`), unset: withoutSysctl, says: `
error: cannot change tunnel "wg0": sysctl -w net.ipv4.tcp_congestion_control=nonesuch: the kernel refuses the value for "/proc/sys/net/ipv4/tcp_congestion_control": no such file or directory; the tunnel is as it was before
hint: cat /proc/sys/net/ipv4/tcp_congestion_control shows how it is spelled; then correct sysctls in the tunnel file`},
	{name: "a number that the kernel refuses", set: withSysctl(`"net.ipv4.ip_default_ttl" = 256`), unset: withoutSysctl, says: `
error: cannot change tunnel "wg0": sysctl -w net.ipv4.ip_default_ttl=256: the kernel refuses the value for "/proc/sys/net/ipv4/ip_default_ttl": invalid argument; the tunnel is as it was before
hint: cat /proc/sys/net/ipv4/ip_default_ttl shows how it is spelled; then correct sysctls in the tunnel file`},
	{name: "no such parameter", set: withSysctl(`"net.core.nonesuch" = 1`), unset: withoutSysctl, says: `
error: no such kernel parameter on this host: "net.core.nonesuch": there is no /proc/sys/net/core/nonesuch
hint: ls /proc/sys/net/core shows those there are; what belongs to a module comes with it (modprobe nf_conntrack)`},
	{name: "no such parameter of the tunnel's", set: withSysctl(`"net.ipv4.conf.wg0.nonesuch" = 1`), unset: withoutSysctl, says: `
error: cannot change tunnel "wg0": sysctl -w net.ipv4.conf.wg0.nonesuch=1: no such kernel parameter: "/proc/sys/net/ipv4/conf/wg0/nonesuch": this kernel has none for the tunnel's interface; the tunnel is as it was before
hint: ls /proc/sys/net/ipv4/conf/wg0 shows those there are; then correct sysctls in the tunnel file`},
	{name: "no repository", command: "cd / && wgkeys apply", says: `
error: no wgkeys repository in "/": neither it nor a folder above it has a wgkeys.toml
hint: wgkeys init, or name the repository with -C DIR`},
}

// withSysctl has the tunnel file of shale ask for a kernel parameter.
func withSysctl(setting string) string {
	return "cp tunnels/wg0.toml /run/wg0.toml; sed -i 's/^forward .*/sysctls = { " + setting + " }/' tunnels/wg0.toml"
}

const readOnlyRun = "mount -t tmpfs -o ro none /run/wgkeys"

const withoutSysctl = "mv /run/wg0.toml tunnels/wg0.toml"

// Each trouble is reported in one error and one hint, and nothing was touched.
func TestLabApplyRefuses(t *testing.T) {
	u := labtest.FirstUsers(t)
	if err := u.Shale.WriteFile("/run/basalt.key", []byte(u.Read(u.Basalt, "/etc/wireguard/wg0.key")), 0o600); err != nil {
		t.Fatal(err)
	}
	u.Must(u.Shale, "mkdir -p /run/wgkeys; chmod 755 /root; chmod -R a+rX /root/net")
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) { isRefused(u.With(t), c) })
	}
	u.Must(u.Shale, "wgkeys apply") // nothing else was in its way
}

var publicKey = lazyregexp.New(`[A-Za-z0-9+/]{43}=`)

func isRefused(u *labtest.Users, c refusal) {
	u.Helper()
	const key = "K=/etc/wireguard/wg0.key; "
	if c.set != "" {
		u.Must(u.Shale, "set -e; "+key+c.set)
	}
	if c.command == "" {
		c.command = "wgkeys apply"
	}
	before := u.Snapshot(u.Shale)
	r := u.Run(u.Shale, c.command)
	u.Same(u.Shale, before, c.name)
	if c.unset != "" {
		u.Must(u.Shale, "set -e; "+key+c.unset)
	}
	if r.Code != ui.ExitFailed {
		u.Errorf("exit %d, want %d", r.Code, ui.ExitFailed)
	}
	said := publicKey().ReplaceAllString(strings.ReplaceAll("\n"+strings.TrimSpace(r.Stderr), "\nwgkeys: ", "\n"), "KEY")
	if said != c.says {
		u.Errorf("it says%s\nwant%s", said, c.says)
	}
}
