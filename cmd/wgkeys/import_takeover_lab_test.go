package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
)

// A takenOver is a tunnel that another program brings up and wgkeys takes over.
type takenOver struct {
	name   string
	extra  string // lines of basalt's
	steps  bool   // something is to be done besides
	up     string // brings wg0 up
	down   string // and down
	aside  string // a file that is put aside
	before string // makes the files of the program
}

// takenOvers are for hosts without systemd.
var takenOvers = []takenOver{
	{name: "wg-quick", up: "wg-quick up wg0", down: "wg-quick down wg0", aside: "/etc/wireguard/wg0.conf",
		before: wgQuickFile},
	{name: "wg-quick-everything", extra: "allowed_ips = [\"::/0\", \"0.0.0.0/0\"]", steps: true,
		up: "wg-quick up wg0", down: "wg-quick down wg0", aside: "/etc/wireguard/wg0.conf", before: wgQuickFile},
	{name: "wg-quick-iptables", extra: "allowed_ips = [\"::/0\", \"0.0.0.0/0\"]", steps: true,
		up:   withoutNft + "wg-quick up wg0 && iptables-save | grep -q 'wg-quick(8) rule for wg0' && ! nft list tables | grep wg-quick",
		down: "wg-quick down wg0", aside: "/etc/wireguard/wg0.conf", before: wgQuickFile},
}

// withoutNft has a program find all others, and no nft(8): wg-quick takes iptables(8) then.
const withoutNft = `rm -rf /root/some; mkdir /root/some
for dir in $(echo "$PATH" | tr : ' '); do ln -s "$dir"/* /root/some 2>/dev/null; done
rm /root/some/nft; PATH=/root/some `

const wgQuickFile = "umask 077; wgkeys export --format wg-quick basalt >/etc/wireguard/wg0.conf"

// TestLabImportTakeOver: a tunnel of another program becomes wgkeys' own, and is given back, and
// no packet is lost of 1,000 a second each way; the session stays.
func TestLabImportTakeOver(t *testing.T) {
	for _, of := range takenOvers {
		t.Run(of.name, func(t *testing.T) {
			m := labtest.NewMesh(t, labtest.MeshOptions{Hosts: 2})
			self, err := os.Executable()
			if err := errors.Join(err, m.Basalt.Install("wireguard-go", self)); err != nil {
				t.Fatal(err)
			}
			of.run(m)
		})
	}
}

func (of takenOver) run(m *labtest.Mesh) {
	m.Helper()
	text := m.TunnelFile()
	if of.extra != "" {
		text = strings.Replace(text, "[hosts.shale]\n", "[hosts.basalt.peer.shale]\n"+of.extra+"\n\n[hosts.shale]\n", 1)
	}
	m.Tunnel(text)
	m.Must(m.Basalt, "wgkeys down -q && rm -f /etc/wgkeys/wg0.view")
	m.Must(m.Basalt, of.before)
	m.Must(m.Basalt, "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done") // as Fedora has it
	m.Must(m.Basalt, of.up+" && "+of.down)
	clean := m.Snapshot(m.Basalt) // the program leaves something itself
	m.Must(m.Basalt, of.up)
	m.StartStreams(1000)
	was := m.Snapshot(m.Basalt)
	begun, session := time.Now(), m.Must(m.Basalt, "wg show wg0 latest-handshakes")

	for round := range 2 {
		r := m.Run(m.Basalt, "wgkeys import --take-over -n")
		if r.Code != 0 && (r.Code != 4 || !of.steps) || !strings.Contains(r.Stderr, of.name[:7]) {
			m.Fatalf("the dry run exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		m.Same(m.Basalt, was, "after a dry run")
		of.during(m, "wgkeys import --take-over")
		if r := m.Run(m.Basalt,
			"test ! -e "+of.aside+" && ! iptables-save | grep 'wg-quick(8)' && wgkeys plan"); r.Code != 0 {
			m.Errorf("plan exits %d after the take-over:\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		if r := m.Run(m.Basalt, "wgkeys import --take-over"); r.Code != 1 ||
			!strings.Contains(r.Stderr, "what was put aside is in /etc/wgkeys/taken/wg0") {
			m.Errorf("a second take-over exits %d: %s", r.Code, r.Stderr)
		}
		if round == 1 {
			break
		}
		of.during(m, "wgkeys import --undo")
		m.Same(m.Basalt, was, "after it was given back")
		m.Must(m.Basalt, "test -e "+of.aside+" && test ! -e /etc/wgkeys/taken/wg0 && test ! -e /etc/wgkeys/wg0.view")
	}
	// After 120 s a session is renewed (REKEY_AFTER_TIME).
	if now := m.Must(m.Basalt, "wg show wg0 latest-handshakes"); now != session && time.Since(begun) < 100*time.Second {
		m.Errorf("another session: %s, was %s", now, session)
	}
	if !of.steps {
		of.outdated(m)
		return
	}
	m.Must(m.Basalt, "wgkeys down -q")
	m.Same(m.Basalt, clean, "after down")
	if r := m.Run(m.Basalt, "wgkeys import --undo"); r.Code != 0 {
		m.Errorf("what is down is not given back: %s", r.Stderr)
	}
	m.Same(m.Basalt, clean, "given back after down")
	m.Must(m.Basalt, of.up+" && "+of.down)
}

// outdated: files with a key that was replaced since are not given back, and what was put
// aside is not put aside once more.
func (of takenOver) outdated(m *labtest.Mesh) {
	m.Helper()
	m.Must(m.Basalt, "wgkeys rotate -y basalt")
	r := m.Run(m.Basalt, "wgkeys import --undo")
	if r.Code != 1 || !strings.Contains(r.Stderr, "own key was replaced since") ||
		!strings.Contains(r.Stderr, "hint: wgkeys export --secret basalt") {
		m.Errorf("after a rotation undo exits %d: %s", r.Code, r.Stderr)
	}
	m.Must(m.Basalt, "wgkeys down -q && umask 077 && wgkeys export --secret --format wg-quick -o "+of.aside+" basalt && "+of.up)
	r = m.Run(m.Basalt, "wgkeys import --take-over")
	if r.Code != 1 || !strings.Contains(r.Stderr, "rm -r /etc/wgkeys/taken/wg0") {
		m.Errorf("a second take-over exits %d: %s", r.Code, r.Stderr)
	}
	m.Must(m.Basalt, "rm -r /etc/wgkeys/taken/wg0 && wgkeys import --take-over && wgkeys import --undo && test -e "+of.aside)
	m.Tunnel(strings.ReplaceAll(m.TunnelFile(), "30567", "30568"))
	r = m.Run(m.Basalt, "wgkeys import --take-over")
	if r.Code != 1 || !strings.Contains(r.Stderr, "the tunnel file has less than what runs") {
		m.Errorf("with another port it exits %d: %s", r.Code, r.Stderr)
	}
	m.Must(m.Basalt, of.down)
}

// during runs a command while packets flow, of which none may be lost.
func (of takenOver) during(m *labtest.Mesh, command string) {
	m.Helper()
	said := ""
	tolls := m.During(func() { r := m.Run(m.Basalt, command); said = r.Stdout + r.Stderr })
	m.Logf("%s:\n%s", command, said)
	for i, toll := range tolls {
		m.Logf("%s to %s: %v", m.Streams[i].From, m.Streams[i].To, toll)
		if toll.Lost > 0 || toll.Sent == 0 {
			m.Errorf("%s: %s to %s: %v%s", command, m.Streams[i].From, m.Streams[i].To, toll, m.Streams[i].Reasons())
		}
	}
}
