//go:build managers

package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/tunnel/foreign/foreigntest"
)

// A realFile is a real file, or the files of one host.
type realFile struct {
	format, path string // below deploy/tunnel/FORMAT/testdata/corpus
	keys         string // key files that it names
}

// realFiles are those that a tunnel can be made of.
var realFiles = []realFile{
	{"networkd", "005-pia-policy", ""},
	{"networkd", "009-keyfile-v6-halves", "/etc/systemd/network/wg0.key"},
	{"networkd", "010-ipmasquerade-server", "/etc/systemd/network/wg0.key"},
	{"networkd", "011-ipmasquerade-client", "/etc/systemd/network/wg0.key"},
	{"netplan", "003-first-peer.yaml", ""},
	{"netplan", "004-second-peer.yaml", ""},
	{"netplan", "006-hub-key-and-psk-files.yaml",
		"/etc/wireguard/hub.key /etc/wireguard/psk-branch /etc/wireguard/psk-alice"},
	{"networkmanager", "001-home-vpn.nmconnection", ""},
	{"networkmanager", "004-peer-routes-off-table.nmconnection", ""},
	{"networkmanager", "005-split-dns.nmconnection", ""},
}

// asHere puts the one interface's name, and an address where there is no resolver.
var asHere = strings.NewReplacer("wg-pia", "wg0", "wg-airvpn", "wg0", "interface-name=home-vpn", "interface-name=wg0",
	"vpn.example.net", "198.51.100.7")

// TestLabTripsCorpus: of real files of systemd-networkd, netplan and NetworkManager the
// kernel has the same after they are taken in and applied as by these programs, but for
// what is in testdata/trips/corpus.golden. Why is in doc/measured/trips.md.
func TestLabTripsCorpus(t *testing.T) {
	m := bootBare(t)
	var said strings.Builder
	for _, f := range realFiles {
		said.WriteString(f.compare(m))
	}
	foreigntest.Golden(t, "testdata/trips/corpus.golden", said.String())
}

func (f realFile) compare(m *labtest.Sid) string {
	m.Helper()
	const dir, repo = "/tmp/real", "/root/real"
	f.put(m, dir)
	out := m.Must(homeless + `rm -rf /root/.config ` + repo + `; wgkeys init -q --classic ` + repo + `; cd ` + repo + `
		wgkeys import --leave-out --host basalt ` + dir + ` >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
		grep '^wgkeys: left out' /tmp/said || true; echo ==; cat tunnels/wg0.toml`)
	left, text, _ := strings.Cut(out, "==\n")
	tr := &sidTrip{Sid: m, name: "real", text: text}
	ours := tr.state("wgkeys", repo, "basalt")
	f.put(m, dir)
	theirs := tr.state(f.format, dir, "/tmp/real-back")
	m.Must("rm -f " + f.keys)
	lines := strings.Count(left, "\n")
	return fmt.Sprintf("%s, %s, %d lines left out:%s\n", f.format, f.path, lines, linesApart(ours, theirs))
}

// put writes the files into a folder, and makes the keys, which networkd reads as a user
// of its own.
func (f realFile) put(m *labtest.Sid, dir string) {
	m.Helper()
	from := "../../deploy/tunnel/" + f.format + "/testdata/corpus/" + f.path
	script := homeless + "rm -rf " + dir + "; mkdir -p " + dir + "; chmod 711 /etc/wireguard\n"
	if f.keys != "" {
		script += "mkdir -p /root/keys; for k in " + f.keys + "; do own=/root/keys/${k##*/}\n" +
			"[ -e $own ] || wg genkey >$own; install -m 640 -g systemd-network $own $k; done\n"
	}
	write := func(name string, text []byte) {
		script += "base64 -d >" + dir + "/" + path.Base(name) + " <<END\n" +
			base64.StdEncoding.EncodeToString([]byte(asHere.Replace(string(text)))) + "\nEND\n"
	}
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		for _, file := range foreigntest.Files(m, from) {
			write(file.Name, file.Text)
		}
	} else {
		text, err := os.ReadFile(from)
		if err != nil {
			m.Fatal(err)
		}
		write(from, text)
	}
	m.Must(script)
}
