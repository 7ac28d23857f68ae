//go:build managers

package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
)

// TestLabTrips has the real programs of Debian sid take what wgkeys exports, compares what
// the kernel then has with what it has after an apply, and takes in again the files as the
// programs have them by then. What differs is in testdata/trips, and why in
// doc/measured/trips.md.
func TestLabTrips(t *testing.T) {
	m := bootBare(t)
	t.Run("ifupdown", func(t *testing.T) {
		foreigntest.Golden(t, "testdata/trips/ifupdown.golden", firstUsersTrip(m))
	})
	for _, name := range []string{"first-users", "full", "hub", "apart"} { // the machine is slow: it takes half an hour
		t.Run(name, func(t *testing.T) {
			tr := newSidTrip(m, "../../deploy/tunnel/formats/testdata/trips/"+name+".toml")
			foreigntest.Golden(t, "testdata/trips/"+name+".golden", tr.all())
		})
	}
}

// bootBare boots the machine without the tunnel that is on its disk.
func bootBare(t *testing.T) *labtest.Sid {
	t.Helper()
	m := labtest.BootSid(t, "systemd-networkd.service")
	m.Eventually(sidManagers["networkd"].online)
	// openresolv replaces no /etc/resolv.conf that it did not write.
	m.Must("rm -f /etc/resolv.conf && resolvconf -u && echo nameserver 192.0.2.1 | resolvconf -a eth0 && cat /etc/resolv.conf")
	t.Logf("%s", m.Must("rm -f /etc/wireguard/*; uname -r; "+
		"dpkg-query -W systemd network-manager wireguard-tools ifupdown netplan.io"))
	return m
}

// homeless is what runs before each line: lab-shell has no home.
const homeless = "export HOME=/root; umask 022; set -e; "

// put writes a file of this machine there.
func put(m *labtest.Sid, from, to string) {
	m.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		m.Fatal(err)
	}
	m.Must("mkdir -p " + path.Dir(to) + "; base64 -d >" + to + " <<END\n" +
		base64.StdEncoding.EncodeToString(text) + "\nEND")
}

// A sidTrip is a tunnel of which the real programs make interfaces.
type sidTrip struct {
	*labtest.Sid
	name, text string
	hosts      []string          // those with managed = false left out
	applied    map[string]string // what the kernel has after apply, by host
}

var (
	hostTable = regexp.MustCompile(`(?m)^\[hosts\.(\w+)\]\n((?:[^\n]+\n)*)`)
	// The machine has no resolver. What wg-quick saves has the address in any case.
	byHubName = strings.NewReplacer("hub.example.net", "198.51.100.7")
)

// newSidTrip makes a repository of the tunnel file.
func newSidTrip(m *labtest.Sid, file string) *sidTrip {
	m.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		m.Fatal(err)
	}
	tr := &sidTrip{Sid: m, name: strings.TrimSuffix(path.Base(file), ".toml"), text: byHubName.Replace(string(text)),
		applied: map[string]string{}}
	var all []string
	for _, h := range hostTable.FindAllStringSubmatch(tr.text, -1) {
		if all = append(all, h[1]); !strings.Contains(h[2], "managed = false") {
			tr.hosts = append(tr.hosts, h[1])
		}
	}
	repo := "/root/" + tr.name
	m.Must(homeless + "rm -rf /root/.config; wgkeys init -q --classic " + repo + "; cd " + repo +
		"; cat >tunnels/wg0.toml <<'END'\n" + tr.text + "END\nwgkeys gen " + strings.Join(all, " "))
	for _, h := range tr.hosts {
		tr.applied[h] = tr.state("wgkeys", repo, h)
	}
	return tr
}

// state is what the kernel has of the tunnel while a program has made it. A port that is
// nobody's is the kernel's choice.
func (tr *sidTrip) state(format, files, out string) string {
	tr.Helper()
	said, code := tr.Run(homeless + "lab-trip " + format + " " + files + " " + out)
	if code != 0 {
		tr.Errorf("%s: %s of %s: exit %d\n%s", tr.name, format, files, code, said)
	}
	var lines []string
	for line := range strings.Lines(said) {
		port, ok := strings.CutPrefix(strings.TrimSpace(line), "port ")
		if !ok || strings.Contains(tr.text, "listen_port = "+port) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// all are the formats that a real program here reads.
func (tr *sidTrip) all() string {
	tr.Helper()
	var b strings.Builder
	for _, format := range []string{"wg-quick", "ifupdown", "networkd", "netplan", "networkmanager"} {
		b.WriteString(tr.one(format))
	}
	return b.String()
}

func (tr *sidTrip) one(format string) string {
	tr.Helper()
	var b strings.Builder
	dir := "/tmp/" + tr.name + "." + format
	for _, h := range tr.hosts {
		files := dir + "/out/" + h
		out, code := tr.Run(homeless + "mkdir -p " + files + "; cd /root/" + tr.name +
			"; wgkeys export --secret --format " + format + " -o " + files + " " + h)
		if code != 0 {
			said, _, _ := strings.Cut(out, "\n")
			return fmt.Sprintf("%s, %s: no export: %s\n", tr.name, format, said)
		}
		theirs := tr.state(format, files, dir+"/back/"+h)
		fmt.Fprintf(&b, "%s, %s, the kernel on %s:%s\n", tr.name, format, h, linesApart(tr.applied[h], theirs))
	}
	whose := map[string]string{"back": "its files", "made": "what it generates"}
	backs := []string{"back"}
	if format == "netplan" { // and what netplan made of it
		tr.Must(homeless + "mkdir -p " + dir + "/made; cd " + dir + "/back; " +
			"for h in *.networkd; do mv $h ../made/${h%.networkd}; done")
		backs = append(backs, "made")
	}
	for _, back := range backs {
		again := tr.importOf(dir + "/" + back)
		fmt.Fprintf(&b, "%s, %s, %s taken in again:%s\n", tr.name, format, whose[back], linesApart(tr.text, again))
	}
	return b.String()
}

var listenPort = regexp.MustCompile(`(?m)^listen_port = \d+$`)

// importOf is the tunnel file of the files of all hosts, and what is left out. What wg(8)
// shows has also a port that the kernel chose.
func (tr *sidTrip) importOf(dir string) string {
	tr.Helper()
	var args []string
	for _, h := range tr.hosts {
		args = append(args, h+"="+dir+"/"+h)
	}
	text := tr.Must(homeless + "cd /root/" + tr.name + "; wgkeys import -n " + strings.Join(args, " "))
	return listenPort.ReplaceAllStringFunc(text, func(line string) string {
		if strings.Contains(tr.text, line) {
			return line
		}
		return "listen_port = THE KERNEL'S CHOICE"
	})
}

// aKey is one that was made for the test.
var aKey = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)

// linesApart tells of two texts which lines only one of them has.
func linesApart(want, got string) string {
	if want == got {
		return " the same"
	}
	d := demo.LineDiff(want, got)
	if d == "" {
		return " the lines in another order"
	}
	return "\n\t" + strings.ReplaceAll(strings.TrimSpace(aKey.ReplaceAllString(d, "KEY")), "\n", "\n\t")
}

// firstUsersTrip: of the first users' two files ifup and wgkeys make the same.
func firstUsersTrip(m *labtest.Sid) string {
	m.Helper()
	const dir = "../../testdata/first-users/ifupdown/"
	hosts := []string{"basalt", "shale"}
	for _, h := range hosts {
		put(m, dir+h+"/etc/network/interfaces.d/wg0", "/tmp/first/"+h+"/wg0")
		put(m, dir+h+"/etc/wireguard/wg0.conf", "/tmp/first/"+h+"/wg0.conf")
	}
	out := m.Must(homeless + `rm -rf /root/.config /root/first; wgkeys init -q --classic /root/first; cd /root/first
		wgkeys import basalt=/tmp/first/basalt shale=/tmp/first/shale; cat tunnels/wg0.toml`)
	_, text, _ := strings.Cut(out, "hosts\n")
	tr := &sidTrip{Sid: m, name: "first", text: text}
	// IPv6's default route of basalt is the tunnel alone.
	m.Must("networkctl down eth0")
	var b strings.Builder
	b.WriteString(text)
	for _, h := range hosts {
		ours := tr.state("wgkeys", "/root/first", h)
		theirs := tr.state("ifupdown", "/tmp/first/"+h, "/tmp/first-back/"+h)
		fmt.Fprintf(&b, "the first users' own files, the kernel on %s:%s\n", h, linesApart(ours, theirs))
	}
	m.Must("networkctl up eth0")
	m.Eventually(sidManagers["networkd"].online)
	return b.String()
}
