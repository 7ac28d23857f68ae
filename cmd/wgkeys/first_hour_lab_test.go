package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
)

// TestLabFirstHour: on a Debian 13 that has nothing of ours, what the README and the guide to
// the first tunnel show leads from a clone to the first ping, with the build, in less than
// five minutes. The limit is wide: it takes much longer to download than to do.
func TestLabFirstHour(t *testing.T) {
	if !long("installs") {
		t.Skip("it takes -long installs, and the roots that make installs makes")
	}
	lower, err := filepath.Abs("../../.lab/roots/debian13")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lower + ".complete"); err != nil {
		t.Skip("no .lab/roots/debian13: make installs")
	}
	r := &clean{Users: labtest.NewUsers(t), root: filepath.Join(t.TempDir(), "root")}
	r.Must(r.Shale, "rm /usr/local/bin/wgkeys; rm -r /etc/wireguard/* /root/net")
	r.Must(r.Basalt, "rm /etc/wireguard/*")
	r.make(lower)

	begin := time.Now()
	for _, command := range readmeBlock(t, "make build") {
		r.types("", "cd /root/wgkeys && "+command)
	}
	built := time.Since(begin)
	network := "nsenter --net=/proc/" + strconv.Itoa(r.Basalt.PID()) + "/ns/net "
	steps := "set -e\n"
	for _, b := range blocksOf(t, "doc/start.md") {
		if b.path != "" {
			steps += "cat >" + b.path + " <<'END'\n" + b.text + "END\n"
		}
		steps += strings.Join(b.commands, "\n") + "\n"
		if strings.Contains(steps, "ping -6") {
			break
		}
	}
	out := r.types(network, steps)
	if !strings.Contains(out, " 3 received") {
		t.Errorf("nothing answers:\n%s", out)
	}
	t.Logf("from the clone to the first ping: %.0f s, of which the build and what it takes were %.0f",
		time.Since(begin).Seconds(), built.Seconds())
	if took := time.Since(begin); took > 5*time.Minute {
		t.Errorf("it took %v", took)
	}
}

// A clean host is a Debian on basalt's network.
type clean struct {
	*labtest.Users
	root string
}

// readmeBlock are the commands of the README's block with such a command.
func readmeBlock(t *testing.T, command string) []string {
	t.Helper()
	for _, b := range blocksOf(t, "../../README.md") {
		if strings.Contains(strings.Join(b.commands, "\n"), command) {
			return b.commands
		}
	}
	t.Fatalf("the README has no %s", command)
	return nil
}

// make lays a layer over the root, with what each Debian has but for the smallest, a clone
// of this repository, and basalt's ssh.
func (c *clean) make(lower string) {
	c.Helper()
	work := filepath.Dir(c.root)
	script := `set -e
		mount -t tmpfs -o size=4g tmpfs "$1"; mkdir "$1/upper" "$1/work" "$1/root"
		mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
		cp --remove-destination /etc/resolv.conf "$1/root/etc/resolv.conf"
		git clone -q ../.. "$1/root/root/wgkeys"
		chroot "$1/root" sh -c 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
			--no-install-recommends iputils-ping iproute2 openssh-client git ca-certificates >/dev/null'
		cp /etc/ssl/certs/ca-certificates.crt "$1/root/etc/ssl/certs/"` // which this machine trusts
	if out, err := exec.Command("sh", "-c", script, "sh", work, lower).CombinedOutput(); err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
	c.Cleanup(func() { exec.Command("sh", "-c", `umount -R "$1/root"; umount "$1"`, "sh", work).Run() })
	if err := c.Trust(c.Context(), c.Basalt, c.Shale, "shale.example.net"); err != nil {
		c.Fatal(err)
	}
	key, hosts := c.Read(c.Basalt, "/root/.ssh/id_ed25519"), c.Read(c.Basalt, "/etc/ssh/ssh_known_hosts")
	if err := errors.Join(os.MkdirAll(c.root+"/root/.ssh", 0o700),
		os.WriteFile(c.root+"/root/.ssh/id_ed25519", []byte(key), 0o600),
		os.WriteFile(c.root+"/root/.ssh/known_hosts", []byte(hosts), 0o644)); err != nil {
		c.Fatal(err)
	}
}

// types runs a script in the root, as somebody who types it would.
func (c *clean) types(network, script string) string {
	c.Helper()
	enter := `mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount --rbind /dev "$1/dev"
		mkdir -p "$1/run"; hostname basalt; echo '93.93.130.7 shale.example.net' >>"$1/etc/hosts"
		exec chroot "$1" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			DEBIAN_FRONTEND=noninteractive bash -c "$2"`
	words := append(strings.Fields(network), "unshare", "-m", "-u", "-p", "-f", "--kill-child",
		"sh", "-ec", enter, "sh", c.root, script)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader("y\n") // apt asks
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
