//go:build managers

package ifupdown

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wgkeys/deploy/tunnel/foreign"
)

// ifup returns what Debian's ifup would do with a stanza. testdata/setup/managers.sh
// fetches the package. It runs in a namespace with a /run of its own.
func ifup(t *testing.T, stanza string) string {
	t.Helper()
	packages, err := filepath.Glob("../../../.lab/managers/ifupdown/ifupdown_*.deb")
	if err != nil || len(packages) != 1 {
		t.Fatalf("%q: run testdata/setup/managers.sh ifupdown", packages)
	}
	dir := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "-x", packages[0], dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(dir, "interfaces")
	if err := os.WriteFile(file, []byte(stanza), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/network &&
		exec "$0" --no-act --no-scripts --force -v -i "$1" wg0`
	program := filepath.Join(dir, "sbin/ifup")
	if _, err := os.Stat(program); err != nil { // from Debian 13 on
		program = filepath.Join(dir, "usr/sbin/ifup")
	}
	out, err := exec.Command("unshare", "-n", "-m", "sh", "-c", script, program, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, stanza)
	}
	return string(out)
}

// The real ifup accepts every stanza that Format writes, and runs all of its commands.
func TestManagersIfup(t *testing.T) {
	for name, v := range views(t) {
		files, err := Format(v, foreign.Secrets{})
		if err != nil {
			t.Fatal(err)
		}
		stanza := string(files[0].Text)
		did := ifup(t, strings.ReplaceAll(stanza, v.Tunnel, "wg0"))
		for line := range strings.Lines(stanza) {
			word, command := cut(strings.TrimSpace(line))
			if hookKeys[word] != "pre-up" && hookKeys[word] != "up" {
				continue
			}
			if command = strings.ReplaceAll(command, v.Tunnel, "wg0"); !strings.Contains(did, command+"\n") {
				t.Errorf("%s: %s is not done:\n%s", name, command, did)
			}
		}
	}
}

// added is the address that ifup gives to ip-address(8), with its length or mask.
var added = regexp.MustCompile(`addr add ([0-9a-f.:]+)(?:/([0-9.]+))? `)

// Parse reads an address as ifup does.
func TestManagersAddress(t *testing.T) {
	for _, options := range []string{
		"inet6 static\n address 2001:db8::2", "inet6 static\n address 2001:db8::2/64",
		"inet6 static\n address 2001:db8::2\n netmask 64", "inet6 static\n netmask 64\n address 2001:db8::2/80",
		"inet static\n address 10.1.2.3", "inet static\n address 172.16.1.2", "inet static\n address 192.168.1.5",
		"inet static\n address 224.1.2.5", "inet static\n address 172.16.1.2/24\n netmask 255.255.0.0",
		"inet static\n address 10.0.0.1\n netmask 24", "inet static\n address 10.0.0.1/30",
		"inet static\n address 10.64.0.4\n netmask 255.255.255.254",
	} {
		stanza := "iface wg0 " + options + "\n pre-up ip link add wg0 type wireguard\n"
		m := added.FindStringSubmatch(ifup(t, stanza))
		if m == nil {
			t.Fatalf("no address of\n%s", stanza)
		}
		want := addressOf(t, m[1], m[2])
		if got := one(t, text(stanza)).Addresses[0].Local; got != want {
			t.Errorf("%s: %s, and ifup adds %s", options, got, want)
		}
	}
}

// addressOf returns an address with a length or mask as ip-address(8) reads it; without one
// it is a single address.
func addressOf(t *testing.T, addr, mask string) netip.Prefix {
	t.Helper()
	a := netip.MustParseAddr(addr)
	bits := a.BitLen()
	if m, err := netip.ParseAddr(mask); err == nil {
		for bits = 0; bits < 32 && m.AsSlice()[bits/8]&(1<<(7-bits%8)) != 0; bits++ {
		}
	} else if mask != "" {
		if _, err := fmt.Sscan(mask, &bits); err != nil {
			t.Fatal(err)
		}
	}
	return netip.PrefixFrom(a, bits)
}
