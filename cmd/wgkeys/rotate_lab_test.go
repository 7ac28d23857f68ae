package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
)

// fastRate is what the fast tunnel carries: a machine that counts its time does
// not bear 20,000 packets a second each way.
var fastRate = flag.Int("fast-rate", 20_000, "packets a second each way through the fast tunnel")

// meshRate is what each pair of five hosts sends the other: twenty streams.
var meshRate = flag.Int("mesh-rate", 1000, "packets a second each way between the hosts of a mesh")

// someWay is the round trip between hosts that are in different places.
const someWay = 10 * time.Millisecond

// newMesh is a mesh for a rotation. Most of a rotation's time goes into ssh's handshakes,
// where a processor is emulated: there connections are shared, as many a user has it.
func newMesh(t *testing.T, o meshOptions) *mesh {
	t.Helper()
	o.sharedSSH = long("rotations")
	return makeMesh(t, o)
}

// `wgkeys rotate` gives hosts new keys while numbered packets flow both ways
// between all pairs: none is lost and none comes twice.
func TestLabRotate(t *testing.T) {
	trips, times, rate := []time.Duration{0, someWay, 50 * time.Millisecond}, 20, 1000
	if !long("rotations") {
		trips, times, rate = []time.Duration{someWay}, 3, calmRate()
	}
	for _, b := range backends() {
		if b == embeddedBackend && lab.HasWireGuard() && !long("rotations") {
			continue // namespaces have it each time
		}
		for _, rtt := range trips {
			t.Run(fmt.Sprintf("%s/%v", b, rtt), func(t *testing.T) {
				b.use(t)
				m := newMesh(t, meshOptions{hosts: 2, roundTrip: rtt})
				m.flow(rate)
				m.still()
				m.rotateInTurn(times)
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
	for _, b := range backends()[:1] {
		t.Run(string(b), func(t *testing.T) {
			m := newMesh(t, meshOptions{hosts: hosts, roundTrip: someWay})
			m.flow(rate)
			m.still()
			m.rotateInTurn(hosts)
		})
	}
}

// The controlling ssh may ride the very tunnel.
func TestLabRotateThroughTheTunnel(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, b := range backends() {
		t.Run(string(b), func(t *testing.T) {
			b.use(t)
			m := newMesh(t, meshOptions{hosts: 2, roundTrip: someWay, inside: true})
			m.flow(1000)
			m.still()
			m.rotateInTurn(6)
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
	for _, atOnce := range []int{1, mostAtOnce} {
		if atOnce == 1 && lab.Kernel() == "vm" {
			continue // a system call for each packet would be all that it does
		}
		t.Run(fmt.Sprintf("%d at once", atOnce), func(t *testing.T) {
			m := newMesh(t, meshOptions{hosts: 2, roundTrip: someWay})
			m.atOnce = atOnce
			m.flow(*fastRate)
			m.still()
			if m.canHold() {
				m.rotateInTurn(4)
			} else {
				t.Log("this kernel cannot hold packets for a program")
			}
			m.rotateWithoutHolding(4)
		})
	}
}

// rotateWithoutHolding tells what it costs.
func (m *mesh) rotateWithoutHolding(times int) {
	m.t.Helper()
	for i := range times {
		h := m.hosts[i%len(m.hosts)]
		for j, x := range m.during(func() { m.rotate(h, "--no-hold") }) {
			m.t.Logf("without holding, %s's key: %s to %s: %v", h.Name(), m.streams[j].from, m.streams[j].to, x)
		}
	}
}

// canHold reports whether packets can be held here: by our device, or by nftables
// for a program.
func (m *mesh) canHold() bool {
	m.t.Helper()
	return !lab.HasWireGuard() || m.run(m.Router, "nft 'table inet hold { chain c { type filter hook output priority 0; oifname none queue num 0; }; }'").code == 0
}

// rotate gives a host a new key and returns what the program said.
func (m *mesh) rotate(h *lab.Host, flags string) string {
	m.t.Helper()
	r := m.run(m.hosts[0], "wgkeys rotate -y -v "+flags+" "+h.Name())
	if r.code != 0 {
		m.t.Errorf("rotate %s: exit %d\n%s%s", h.Name(), r.code, r.stdout, r.stderr)
	}
	return r.stdout + r.stderr
}

// rotateInTurn rotates the hosts' keys one after the other, so many times in
// all, and sees that it costs nothing and leaves nothing.
func (m *mesh) rotateInTurn(times int) {
	m.t.Helper()
	var total toll
	var longest time.Duration
	secrets := map[string]bool{}
	for i := range times {
		h := m.hosts[i%len(m.hosts)]
		old, secret := m.keys(h)
		secrets[secret] = true
		var said string
		start := time.Now()
		tolls := m.during(func() {
			said = m.rotate(h, "")
			longest = max(longest, time.Since(start))
		})
		if long("rotations") {
			m.t.Logf("rotation %d, %s's key: %v; %v", i+1, h.Name(), tolls, time.Since(start).Round(time.Millisecond))
		}
		for j, x := range tolls {
			total.add(x)
			if s := m.streams[j]; x.lost > 0 || x.doubled > 0 {
				m.t.Errorf("rotation %d, %s's key: %s to %s: %v%s\n%s", i+1, h.Name(), s.from, s.to, x, s.reasons(), said)
			}
		}
		if now, _ := m.keys(h); now == old {
			m.t.Fatalf("rotation %d: %s's key is the old one\n%s", i+1, h.Name(), said)
		}
	}
	m.t.Logf("%d rotations of %d hosts: %v; the longest took %v", times, len(m.hosts), total, longest.Round(time.Millisecond))
	m.nothingLeft(secrets)
}

// keys are the public key that a host uses and the secret in its key file.
func (m *mesh) keys(h *lab.Host) (public, secret string) {
	m.t.Helper()
	return strings.TrimSpace(m.must(h, "wg show wg0 public-key")), strings.TrimSpace(m.read(h, keyFile))
}
