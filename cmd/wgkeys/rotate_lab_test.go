package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// someWay is the round trip between hosts that are in different places.
const someWay = 10 * time.Millisecond

// newMesh is a mesh for a rotation. Most of a rotation's time goes into ssh's handshakes,
// where a processor is emulated: there connections are shared, as many a user has it.
func newMesh(t *testing.T, o labtest.MeshOptions) *labtest.Mesh {
	t.Helper()
	o.SharedSSH = long("rotations")
	return labtest.NewMesh(t, o)
}

// `wgkeys rotate` gives hosts new keys while numbered packets flow both ways
// between all pairs: none is lost and none comes twice.
func TestLabRotate(t *testing.T) {
	trips, times, rate := []time.Duration{0, someWay, 50 * time.Millisecond}, 20, 1000
	if !long("rotations") {
		trips, times, rate = []time.Duration{someWay}, 3, calmRate()
	}
	for _, b := range labtest.Backends() {
		if b == labtest.Embedded && lab.HasWireGuard() && !long("rotations") {
			continue // namespaces have it each time
		}
		for _, rtt := range trips {
			t.Run(fmt.Sprintf("%s/%v", b, rtt), func(t *testing.T) {
				b.Use(t)
				m := newMesh(t, labtest.MeshOptions{Hosts: 2, RoundTrip: rtt})
				m.StartStreams(rate)
				m.Still()
				rotateOneByOne(m, times)
			})
		}
	}
}

// calmRate is for every test run, also where other tests take the processors. The
// queue that hides a change holds 128 packets: at 1000 a second a host that does
// not get to run for 128 ms loses some. The virtual machine has a clock of its own.
func calmRate() int {
	if lab.Kernel() == "vm" {
		return 1000
	}
	return 200
}

// A host with several peers has all of them follow.
func TestLabRotateMesh(t *testing.T) {
	hosts, rate := 3, calmRate()
	if long("rotations") {
		hosts, rate = 5, *meshRate
	}
	for _, b := range labtest.Backends()[:1] {
		t.Run(string(b), func(t *testing.T) {
			m := newMesh(t, labtest.MeshOptions{Hosts: hosts, RoundTrip: someWay})
			m.StartStreams(rate)
			m.Still()
			rotateOneByOne(m, hosts)
		})
	}
}

// The controlling ssh may ride the very tunnel.
func TestLabRotateThroughTheTunnel(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, b := range labtest.Backends() {
		t.Run(string(b), func(t *testing.T) {
			b.Use(t)
			m := newMesh(t, labtest.MeshOptions{Hosts: 2, RoundTrip: someWay, Inside: true})
			m.StartStreams(1000)
			m.Still()
			rotateOneByOne(m, 6)
		})
	}
}

// Tunnels that send more in two round trips than WireGuard's queues hold have
// their packets held before the device. Without that they lose some, which is
// told and decides nothing. A device in user space queues what it reads at once as
// one: packets that come one by one are harder for it.
func TestLabRotateFastTunnels(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, atOnce := range []int{1, labtest.MostAtOnce} {
		if atOnce == 1 && lab.Kernel() == "vm" {
			continue // a system call for each packet would be all that it does
		}
		t.Run(fmt.Sprintf("%d at once", atOnce), func(t *testing.T) {
			m := newMesh(t, labtest.MeshOptions{Hosts: 2, RoundTrip: someWay})
			m.AtOnce = atOnce
			m.StartStreams(*fastRate)
			m.Still()
			if canHold(m) {
				rotateOneByOne(m, 4)
			} else {
				t.Log("this kernel cannot hold packets for a program")
			}
			rotateWithoutHolding(m, 4)
		})
	}
}

// rotateWithoutHolding tells what it costs.
func rotateWithoutHolding(m *labtest.Mesh, times int) {
	m.Helper()
	for i := range times {
		h := m.Hosts[i%len(m.Hosts)]
		for j, x := range m.During(func() { rotateKey(m, h, "--no-hold") }) {
			m.Logf("without holding, %s's key: %s to %s: %v", h.Name(), m.Streams[j].From, m.Streams[j].To, x)
		}
	}
}

// canHold reports whether packets can be held here: by our device, or by nftables
// for a program.
func canHold(m *labtest.Mesh) bool {
	m.Helper()
	return !lab.HasWireGuard() ||
		m.Run(m.Router, "nft 'table inet hold { chain c { type filter hook output priority 0; oifname none queue num 0; }; }'").Code == 0
}

// rotateKey gives a host a new key and returns what the program said.
func rotateKey(m *labtest.Mesh, h *lab.Host, flags string) string {
	m.Helper()
	r := m.Run(m.Hosts[0], "wgkeys rotate -y -v "+flags+" "+h.Name())
	if r.Code != 0 {
		m.Errorf("rotate %s: exit %d\n%s%s", h.Name(), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

// rotateOneByOne rotates the hosts' keys one after the other, so many times in
// all, and sees that it costs nothing and leaves nothing.
func rotateOneByOne(m *labtest.Mesh, times int) {
	m.Helper()
	var total labtest.Toll
	var longest time.Duration
	secrets := map[string]bool{}
	for i := range times {
		h := m.Hosts[i%len(m.Hosts)]
		old, secret := keysOf(m, h)
		secrets[secret] = true
		var said string
		start := time.Now()
		tolls := m.During(func() {
			said = rotateKey(m, h, "")
			longest = max(longest, time.Since(start))
		})
		if long("rotations") {
			m.Logf("rotation %d, %s's key: %v; %v", i+1, h.Name(), tolls, time.Since(start).Round(time.Millisecond))
		}
		for j, x := range tolls {
			total.Add(x)
			if s := m.Streams[j]; x.Lost > 0 || x.Doubled > 0 {
				m.Errorf("rotation %d, %s's key: %s to %s: %v%s\n%s", i+1, h.Name(), s.From, s.To, x, s.Reasons(), said)
			}
		}
		if now, _ := keysOf(m, h); now == old {
			m.Fatalf("rotation %d: %s's key is the old one\n%s", i+1, h.Name(), said)
		}
	}
	m.Logf("%d rotations of %d hosts: %v; the longest took %v", times, len(m.Hosts), total,
		longest.Round(time.Millisecond))
	nothingLeft(m, secrets)
}

// keysOf are the public key that a host uses and the secret in its key file.
func keysOf(m *labtest.Mesh, h *lab.Host) (public, secret string) {
	m.Helper()
	return strings.TrimSpace(m.Must(h, "wg show wg0 public-key")), strings.TrimSpace(m.Read(h, keyFile))
}

// nothingLeft sees that hosts, repository and kernels hold the keys of now and
// nothing of those before, of which secrets are the private ones.
func nothingLeft(m *labtest.Mesh, secrets map[string]bool) {
	m.Helper()
	first := m.Hosts[0]
	want := map[*lab.Host]string{}
	for _, h := range m.Hosts {
		want[h] = strings.TrimSpace(m.Read(first, "/root/net/keyring/"+h.Name()+"/wg0.pub"))
	}
	for _, h := range m.Hosts {
		public, secret := keysOf(m, h)
		if secrets[secret] {
			m.Errorf("%s: the key file holds an old key", h.Name())
		}
		if file := strings.TrimSpace(m.Must(h, "wg pubkey <"+keyFile)); public != want[h] || file != want[h] {
			m.Errorf("%s uses the key %s and has %s in its file; the keyring says %s", h.Name(), public, file, want[h])
		}
		peers := strings.Fields(m.Must(h, "wg show wg0 peers"))
		slices.Sort(peers)
		if others := keysOfOthers(m, h, want); !slices.Equal(peers, others) {
			m.Errorf("%s's peers are %q, want %q", h.Name(), peers, others)
		}
		noSecret(m, h, secrets)
		nothingToDo(m, h)
	}
	if next := m.Must(first, "find keyring vault -name '*.next.*'"); next != "" {
		m.Errorf("left in the repository: %s", next)
	}
	plain := m.Must(first, "find vault -name '*.age' -exec age -d -i ~/.config/wgkeys/identity.txt '{}' ';'")
	for secret := range secrets {
		if strings.Contains(plain, secret) {
			m.Error("the vault holds an old key")
		}
	}
}

func keysOfOthers(m *labtest.Mesh, h *lab.Host, keys map[*lab.Host]string) []string {
	var others []string
	for _, o := range m.Hosts {
		if o != h {
			others = append(others, keys[o])
		}
	}
	slices.Sort(others)
	return others
}

// noSecret looks for old private keys in all files that a host could have
// written: as wg(8) spells them, in hexadecimal as wireguard-go is told them, and
// as they are.
func noSecret(m *labtest.Mesh, h *lab.Host, secrets map[string]bool) {
	m.Helper()
	files := strings.Fields(m.Must(h,
		"find /etc/wireguard /etc/wgkeys /run /root /tmp /var/tmp /var/lib/wgkeys -xdev -type f -size -1024k 2>/dev/null || true"))
	if !slices.Contains(files, keyFile) {
		m.Fatalf("the search on %s does not see %s", h.Name(), keyFile)
	}
	for _, path := range files {
		content, err := h.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		for secret := range secrets {
			raw, err := base64.StdEncoding.DecodeString(secret)
			if err != nil {
				m.Fatal(err)
			}
			for _, spelling := range [][]byte{[]byte(secret), raw, []byte(hex.EncodeToString(raw))} {
				if bytes.Contains(content, spelling) {
					m.Errorf("%s: %s holds an old private key", h.Name(), path)
				}
			}
		}
	}
}

// nothingToDo sees that the host is as the repository says.
func nothingToDo(m *labtest.Mesh, h *lab.Host) {
	m.Helper()
	name := h.Name()
	if h == m.Hosts[0] {
		name = ""
	}
	if r := m.Run(m.Hosts[0], "wgkeys plan "+name); r.Code != 0 || r.Stdout != "" {
		m.Errorf("%s: there is something to do after the rotation: exit %d\n%s%s", h.Name(), r.Code, r.Stdout, r.Stderr)
	}
	if out := m.Must(m.Hosts[0], "wgkeys push "+h.Name()); !strings.HasSuffix(out, " unchanged\n") &&
		!strings.Contains(out, " made its key itself\n") {
		m.Errorf("%s: push after the rotation says %q", h.Name(), out)
	}
}
