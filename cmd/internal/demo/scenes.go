// Package demo has the three hosts of the first users, made of network namespaces, and the
// demo that runs on them.
package demo

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
)

// A scene is one command of the demo, typed on basalt, and what its output must contain.
type scene struct {
	about   string
	command string
	want    string // what its output must show
}

var scenes = []scene{
	{about: "a repository, and an identity to encrypt to",
		command: "wgkeys init /root/net && cd /root/net"},
	{about: "the tunnel, plain: ten lines for both ends",
		command: "cp /root/wg0.toml tunnels/wg0.toml && cat tunnels/wg0.toml"},
	{about: "key pairs: the private halves encrypted, the public ones plain",
		command: "wgkeys gen basalt shale && ls vault/* keyring/*", want: "wg0.key.age"},
	{about: "what shale will see: INSIDE and OUTSIDE told apart",
		command: "wgkeys show shale", want: "INSIDE"},
	{about: "the key files go to their hosts: here, and over ssh",
		command: "wgkeys push basalt shale", want: "shale /etc/wireguard/wg0.key installed"},
	{about: "make it true on shale: it forwards, and goes on learning from router advertisements",
		command: "wgkeys apply shale", want: "forwarding=1"},
	{about: "and here",
		command: "wgkeys apply", want: "ip -6 route add ::/0"},
	{about: "basalt, behind IPv4 only, reaches the IPv6 internet through shale",
		command: "ping -6 -n -c 3 -i 0.3 -w 20 " + Internet, want: "3 received"},
	{about: "a config change decrypts nothing: move the identity away, edit, apply",
		command: "mv ~/.config/wgkeys/identity.txt ~/away.txt && sed -i '/hosts.basalt/a keepalive = 25' tunnels/wg0.toml && wgkeys apply",
		want:    "persistent-keepalive 25"},
	{about: "once more: nothing to do, also for push",
		command: "wgkeys apply && wgkeys push basalt shale", want: "shale /etc/wireguard/wg0.key unchanged"},
	{about: "shale forwards, and still has the default route it learned from router advertisements",
		command: "ssh root@" + ShaleAddr + " 'sysctl -a 2>/dev/null | grep ipv6.*forwarding.=.1; ip -6 route show default'",
		want:    "proto ra"},
	{about: "undo it all, here and there",
		command: "wgkeys down && wgkeys down shale", want: "ip link del wg0"},
}

// running is a demo in progress.
type running struct {
	ctx    context.Context
	printf func(format string, args ...any)
}

// Run shows the scenes, and writes their output with printf. It ends with a comparison of
// each host's network with its state at the beginning.
func Run(ctx context.Context, printf func(format string, args ...any)) error {
	d := &running{ctx, printf}
	for _, program := range []string{"ssh", "sshd", "ssh-keygen", "ping", "ip", "sysctl"} {
		if _, err := lookPath(program); err != nil {
			return fault.New("cannot show the demo without the command", program, "it is not installed here",
				"apt-get install openssh-server iproute2 iputils-ping procps")
		}
	}
	begin := time.Now()
	n, err := NewNetwork(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Basalt.WriteFile("/root/wg0.toml", []byte(FirstTunnel), 0o644); err != nil {
		return err
	}
	printf("# three hosts: basalt (IPv4 only), shale (a VPS), the provider's router\n")
	hosts := []*lab.Host{n.Basalt, n.Shale}
	var before []string
	for _, h := range hosts {
		s, err := Snapshot(ctx, h)
		if err != nil {
			return err
		}
		before = append(before, s)
	}
	if err := d.run(n); err != nil {
		return err
	}
	for i, h := range hosts {
		if err := d.compare(h, before[i]); err != nil {
			return err
		}
	}
	printf("\n# done in %.1f s; the hosts are gone\n", time.Since(begin).Seconds())
	return nil
}

// lookPath also searches the folders of servers (sbin).
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + program)
}

// run runs the scenes as in one shell: each command begins in the working folder in which
// the last one ended.
func (d *running) run(n *Network) error {
	dir := "/root"
	for _, s := range scenes {
		d.printf("\n# %s\nbasalt%s $ %s\n", s.about, tilde(dir), s.command)
		cmd := n.Basalt.Command(d.ctx, "sh", "-c", "cd "+dir+" && { "+s.command+"\n}")
		var out strings.Builder
		cmd.Stdout = &tee{d.printf, &out}
		cmd.Stderr = cmd.Stdout
		err := cmd.Run()
		if d.ctx.Err() != nil {
			return fault.New("the demo was interrupted", "", "", "")
		}
		if err != nil {
			return fault.Wrap(err, "the demo failed at", s.command, "wgkeys demo -v")
		}
		if s.want != "" && !strings.Contains(out.String(), s.want) {
			return fault.New("the demo failed at", s.command, fmt.Sprintf("its output does not show %q", s.want), "")
		}
		if strings.HasSuffix(s.command, "cd /root/net") {
			dir = "/root/net"
		}
	}
	return nil
}

func tilde(dir string) string { return ":" + strings.Replace(dir, "/root", "~", 1) }

// A tee shows output as it comes and keeps it.
type tee struct {
	printf func(format string, args ...any)
	kept   *strings.Builder
}

func (t *tee) Write(p []byte) (int, error) {
	t.printf("%s", p)
	return t.kept.Write(p)
}

func (d *running) compare(h *lab.Host, before string) error {
	d.printf("\n# %s: addresses, routes, rules, proxy neighbours, nft and sysctls, before and after\n", h.Name())
	after, err := Snapshot(d.ctx, h)
	if err != nil {
		return err
	}
	if diff := LineDiff(before, after); diff != "" {
		d.printf("%s", diff)
		return fault.NewHost("down did not restore host", h.Name(), "the differences are above", "")
	}
	d.printf("%s: no difference in %d lines\n", h.Name(), strings.Count(after, "\n"))
	return nil
}

// snapshotCommands show all of a host's network state that apply could change.
var snapshotCommands = []string{
	"ip -details address show",
	"ip -4 route show table all",
	"ip -6 route show table all",
	"ip -4 rule show",
	"ip -6 rule show",
	"ip -6 neigh show proxy",
	"command -v nft >/dev/null && nft -s list ruleset",
	"grep -rs '' " + parameters,
	`for f in /run/wgkeys/*.journal /var/run/wireguard/*.sock; do [ ! -e "$f" ] || echo "$f"; done`,
}

// parameters is the folder of the kernel's network parameters. grep(1) reads them in a
// third of the time of sysctl(8).
const parameters = "/proc/sys/net"

// Snapshot is a host's network state as ip, nft and sysctl show it, without values that
// change by themselves.
func Snapshot(ctx context.Context, h *lab.Host) (string, error) {
	const script = `for c in "$@"; do echo "== $c"; eval "$c" || true; done`
	out, err := h.Run(ctx, append([]string{"sh", "-c", script, "sh"}, snapshotCommands...)...)
	if err != nil {
		return "", err
	}
	return volatile().ReplaceAllString(sysctlWords(out), ""), nil
}

// sysctlWords converts paths of kernel parameters, as grep(1) prints them, to names of
// sysctl(8): dots between folders, and a slash for a dot in the name of a link.
func sysctlWords(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if path, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(path, parameters+"/") {
			line = tunnel.SwapSeparators(strings.TrimPrefix(path, "/proc/sys/")) + " = " + value
		}
		b.WriteString(line)
	}
	return b.String()
}

// LineDiff returns the lines that only one of two texts has.
func LineDiff(before, after string) string {
	var b strings.Builder
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]++
	}
	for line := range strings.Lines(after) {
		if count[line]--; count[line] < 0 {
			b.WriteString("+ " + line)
		}
	}
	for line := range strings.Lines(before) {
		if count[line] > 0 {
			count[line]--
			b.WriteString("- " + line)
		}
	}
	return b.String()
}

// volatile matches remaining lifetimes of routes and addresses, reference counts, and
// kernel parameters that are counters.
var volatile = lazyregexp.New(`( expires \d+sec| (valid|preferred)_lft \d+sec| refcnt \d+| users \d+| age \d+sec|(?m:^net\.(netfilter\.nf_conntrack_count|ipv[46]\.route\.flush|ipv6\.conf\.[^ ]*\.stable_secret|core\.netdev_rss_key).*\n))`)
