package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/keyring/lazyregexp"
)

// whatIsThere are a tunnel's keys and peers, addresses and routes. What a program names by
// a number of its own choice is left out: its table, its mark, a port that is nobody's.
const whatIsThere = `for i in $(seq 100); do ip -6 address show dev wg0 tentative | grep -q . || break; sleep 0.1; done
wg showconf wg0 | grep -v -i -e ^fwmark -e "$1"
ip -o address show dev wg0 | cut -d ' ' -f 6- | sed -e 's/ *\\.*//' -e '/^ *fe80::[^ ]*\/64/d'
ip -4 route show table all dev wg0 | sed -e '/table local/d'
ip -6 route show table all dev wg0 | sed -e '/table local/d' -e '/^fe80::\/64/d' -e '/^multicast/d'`

// chosen is what is different from program to program in a route: who made it, and the
// table that a default route has to itself.
var chosen = lazyregexp.New(` (?:proto \w+|table \d+|pref medium|valid_lft \w+|preferred_lft \w+)`)

// TestLabImport: of a real file of wg-quick, wgkeys makes what wg-quick makes of it. Files
// that are refused, or of which a line is left out, are not among these; nor is what needs
// a name server or iptables(8), which a host may lack.
func TestLabImport(t *testing.T) {
	u := labtest.NewUsers(t)
	box := u.NewHost("box")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		box.Install("wireguard-go", self), box.Install("wgkeys", self),
		u.Link(box, "eth0", u.Router, "box0"),
		u.Router.IP("address add 203.0.113.1/30 dev box0"),
		box.IP("address add 203.0.113.2/30 dev eth0"),
		box.IP("route add default via 203.0.113.1"),
	); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../../deploy/tunnel/formats/testdata/wg-quick*/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, path := range paths {
		golden, err := os.ReadFile(path + ".golden")
		if err != nil {
			t.Fatal(err)
		}
		if text := string(golden); !strings.Contains(text, "[hosts.host]") || strings.Contains(text, "metric") {
			continue // it is refused, or something that counts is left out
		}
		compared++
		if !long("imports") && compared%4 != 3 {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) { importSame(u.With(t), box, path) })
	}
	if compared < 14 {
		t.Errorf("%d files were compared", compared)
	}
}

// aside are lines that need what the host of the test does not have, and byName are names
// of endpoints.
var (
	aside  = lazyregexp.New(`(?im)^\s*(?:dns|p(?:re|ost)(?:up|down)\s*=.*iptables).*$`)
	byName = lazyregexp.New(`(?im)^(\s*endpoint\s*=\s*)[a-z][a-z0-9.-]*:`)
)

func importSame(u *labtest.Users, box *lab.Host, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		u.Fatal(err)
	}
	conf := byName().ReplaceAllString(aside().ReplaceAllString(string(text), ""), "${1}198.51.100.7:")
	u.Write(box, "/etc/wireguard/wg0.conf", conf)
	for _, file := range []string{"/etc/wireguard/dn42-privatekey", "/etc/opnmesh/private.key"} {
		u.Must(box, "umask 077; mkdir -p /etc/opnmesh; [ -e "+file+" ] || wg genkey >"+file)
	}
	u.Must(box, "wg-quick up wg0")
	want := there(u, box, conf)
	u.Must(box, "wg-quick down wg0")

	u.Must(box, `rm -rf /root/box /root/.config && wgkeys init -q --classic /root/box &&
		cd /root/box && wgkeys import --leave-out --host box /etc/wireguard/wg0.conf &&
		wgkeys push --host box box && wgkeys apply -q --host box`)
	got := there(u, box, conf)
	u.Must(box, "cd /root/box && wgkeys down -q --host box; rm -f /etc/wireguard/wg0.*")
	if !slices.Equal(want, got) {
		u.Errorf("%s\nwg-quick's is -, ours +:\n%s", strings.Join(got, "\n"), demo.LineDiff(strings.Join(want, "\n")+"\n",
			strings.Join(got, "\n")+"\n"))
	}
}

// there is whatIsThere, in order.
func there(u *labtest.Users, box *lab.Host, conf string) []string {
	port := "^listenport"
	if regexp.MustCompile(`(?im)^\s*listenport`).MatchString(conf) {
		port = "^nothing"
	}
	text := u.Must(box, "set -- '"+port+"'; "+whatIsThere)
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(chosen().ReplaceAllString(line, ""))
		if list, ok := strings.CutPrefix(line, "AllowedIPs = "); ok {
			words := strings.Split(list, ", ")
			slices.Sort(words)
			line = "AllowedIPs = " + strings.Join(words, ", ")
		}
		// A device in user space has a link-local address of the kernel's choice, unless
		// somebody sees to it as apply does; the kernel's WireGuard has none.
		if line != "" && !strings.HasSuffix(line, "scope link stable-privacy") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}
