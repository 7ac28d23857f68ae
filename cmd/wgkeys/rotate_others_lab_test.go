package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
)

// An exchange is what a rotation of one host's key against its peer needs to know.
type exchange struct {
	*labtest.Mesh
	a, b     *lab.Host // a gets a new key, b is its peer
	old, new string    // a's public keys
	key      string    // the file on a with the new private key
}

// otherRotations are ways to give a host a new key with ip(8) and wg(8) alone.
var otherRotations = []struct {
	name   string
	rotate func(exchange)
}{
	{"key on A, 2 s later the peer on B", rotateNaively},
	{"innernet: the peer on B after 5 s", rotateInnernet},
	{"Mullvad's app: A's interface made again", rotateMullvad},
	{"peer with its allowed IPs on B first", rotatePeerFirst},
	{"peer first, allowed IPs after the key", rotateAllowedLast},
	{"allowed IPs at the first handshake", rotateAtHandshake},
}

// onA and onB run a line of shell with the words of the exchange in it.
func (x exchange) onA(script string) { x.Helper(); x.Must(x.a, x.words(script)) }
func (x exchange) onB(script string) { x.Helper(); x.Must(x.b, x.words(script)) }

func (x exchange) words(script string) string {
	return strings.NewReplacer("OLD", x.old, "NEW", x.new, "KEYFILE", x.key,
		"ADDRESS", x.Inside(x.a).String()+"/128", "ENDPOINT", x.Outside(x.a).String()+":30567").Replace(script)
}

// rotateNaively: each end when somebody comes by.
func rotateNaively(x exchange) {
	x.onA("wg set wg0 private-key KEYFILE")
	time.Sleep(2 * time.Second)
	x.onB("wg set wg0 peer OLD remove peer NEW endpoint ENDPOINT allowed-ips ADDRESS")
}

// rotateInnernet: tonarino/innernet, update_keypair in client-core/src/interface.rs
// sets the key on the live interface once the server knows it; the server, redeem
// in server/src/api/user.rs, swaps the peers REDEEM_TRANSITION_WAIT = 5 s later.
// It does so when an invitation is redeemed, and has no other change of a key.
func rotateInnernet(x exchange) {
	done := make(chan labtest.Result)
	go func() {
		done <- x.Run(x.b, x.words("sleep 5; wg set wg0 peer OLD remove peer NEW persistent-keepalive 25 allowed-ips ADDRESS"))
	}()
	x.onA("wg set wg0 private-key KEYFILE")
	if r := <-done; r.Code != 0 {
		x.Error(r.Stderr)
	}
}

// rotateMullvad: mullvad/mullvadvpn-app, rotate_key in
// mullvad-daemon/src/device/service.rs registers the key with the API, RotatedKey
// in mullvad-daemon/src/lib.rs waits WG_RECONNECT_DELAY = 240 s and reconnects,
// which handle_commands in talpid-core/src/tunnel_state_machine/connected_state.rs
// does by a disconnect. When a relay lets go of the old key is not in there: here
// the prefix moves the moment before, and nothing is lost in the wait.
func rotateMullvad(x exchange) {
	peer := strings.TrimSpace(x.Must(x.a, "wg show wg0 peers"))
	to := x.Inside(x.b).String() + "/128"
	x.onB("wg set wg0 peer NEW endpoint ENDPOINT allowed-ips ADDRESS")
	x.onA("ip link del wg0; while test -S /var/run/wireguard/wg0.sock; do :; done; " +
		"ip link add wg0 mtu 1420 type wireguard 2>/dev/null || { ln -sf wgkeys /usr/local/bin/wireguard-go && wireguard-go wg0; }; " +
		// A device in user space keeps its port for a moment after its interface.
		"for try in $(seq 100); do wg set wg0 private-key KEYFILE listen-port 30567 2>/dev/null && break; done && " +
		"wg set wg0 peer " + peer + " endpoint " + x.Outside(x.b).String() + ":30567 allowed-ips " + to + " && " +
		"ip address add ADDRESS dev wg0 && ip link set wg0 up && ip route add " + to + " dev wg0")
	x.onB("wg set wg0 peer OLD remove")
}

// rotatePeerFirst: the recipe of serverdevworker.com/663792c42, peer and allowed
// IPs on B first, its old peer removed after confirmation.
func rotatePeerFirst(x exchange) {
	x.onB("wg set wg0 peer NEW endpoint ENDPOINT allowed-ips ADDRESS")
	x.onA("wg set wg0 private-key KEYFILE")
	x.confirmed()
	x.onB("wg set wg0 peer OLD remove")
}

// rotateAllowedLast: the same, but B's way to A stays with the old peer until A
// has its key.
func rotateAllowedLast(x exchange) {
	x.onB("wg set wg0 peer NEW endpoint ENDPOINT")
	x.onA("wg set wg0 private-key KEYFILE")
	x.onB("wg set wg0 peer NEW allowed-ips ADDRESS")
	x.confirmed()
	x.onB("wg set wg0 peer OLD remove")
}

// rotateAtHandshake: B moves the allowed IPs itself when wg(8) shows a handshake.
func rotateAtHandshake(x exchange) {
	x.onB("wg set wg0 peer NEW endpoint ENDPOINT")
	done := make(chan labtest.Result)
	go func() {
		done <- x.Run(x.b, x.words("touch /run/polling; while wg show wg0 latest-handshakes | grep -q '^NEW\t0$'; do :; done; "+
			"wg set wg0 peer NEW allowed-ips ADDRESS; wg set wg0 peer OLD remove; rm /run/polling"))
	}()
	x.onB("while ! test -e /run/polling; do sleep 0.01; done")
	x.onA("wg set wg0 private-key KEYFILE")
	if r := <-done; r.Code != 0 {
		x.Error(r.Stderr)
	}
}

// confirmed waits for the new peer's first handshake.
func (x exchange) confirmed() {
	x.Helper()
	x.onB("while wg show wg0 latest-handshakes | grep -q '^NEW\t0$'; do sleep 0.1; done")
}

// newExchange makes a key for a, of which wgkeys knows nothing.
func newExchange(m *labtest.Mesh, a, b *lab.Host) exchange {
	m.Helper()
	const key = "/run/new.key"
	pub := m.Must(a, "wg show wg0 public-key; umask 077; wg genkey >"+key+"; wg pubkey <"+key)
	keys := strings.Fields(pub)
	return exchange{m, a, b, keys[0], keys[1], key}
}

// What others' ways cost the packets that flow meanwhile, beside ours. It
// decides nothing; cmd/wgkeys/doc/measured/rotation.md records it.
func TestLabRotateOthers(t *testing.T) {
	if !long("rotations") {
		t.Skip("for make rotations")
	}
	for _, b := range labtest.Backends() {
		for _, rtt := range []time.Duration{0, someWay} {
			t.Run(fmt.Sprintf("%s/%v", b, rtt), func(t *testing.T) {
				b.Use(t)
				compareRotations(t, rtt)
			})
		}
	}
}

func compareRotations(t *testing.T, rtt time.Duration) {
	const times = 5
	m := newMesh(t, labtest.MeshOptions{Hosts: 2, RoundTrip: rtt})
	m.StartStreams(1000)
	m.Still()
	table := []string{"| way | A to B lost: median, most | B to A lost | longest gap, ms |", "|---|---|---|---|"}
	row := func(name string, rotate func(m *labtest.Mesh)) {
		t.Run(name, func(t *testing.T) {
			m := m.With(t)
			var tolls [][]labtest.Toll
			for range times {
				tolls = append(tolls, m.During(func() { rotate(m) }))
			}
			table = append(table, tableRow(name, tolls))
		})
	}
	row("wgkeys rotate", func(m *labtest.Mesh) { rotateKey(m, m.Hosts[0], "") }) // while keyring and hosts agree
	for _, way := range otherRotations {
		row(way.name, func(m *labtest.Mesh) { exchangeBy(m, way.rotate) })
	}
	t.Logf("%d rotations each, two hosts, 1000 packets a second each way\n%s", times, strings.Join(table, "\n"))
}

// exchangeBy sees that the others' ways come to what they are there for.
func exchangeBy(m *labtest.Mesh, rotate func(exchange)) {
	m.Helper()
	x := newExchange(m, m.Hosts[0], m.Hosts[1])
	rotate(x)
	if got := strings.TrimSpace(m.Must(x.a, "wg show wg0 public-key")); got != x.new {
		m.Fatalf("A's key is %s, not the new one", got)
	}
	if peers := strings.TrimSpace(m.Must(x.b, "wg show wg0 peers")); peers != x.new {
		m.Fatalf("B's peers are %s", peers)
	}
}

// tableRow sums up rotations with one stream each way.
func tableRow(name string, rotations [][]labtest.Toll) string {
	var there, back []int
	var gaps []float64
	for _, r := range rotations {
		there, back = append(there, r[0].Lost), append(back, r[1].Lost)
		gaps = append(gaps, labtest.InMS(max(r[0].Gap, r[1].Gap)))
	}
	return fmt.Sprintf("| %s | %s | %s | %.0f, %.0f |", name, midAndMost(there), midAndMost(back), median(gaps),
		slices.Max(gaps))
}

func midAndMost(n []int) string {
	slices.Sort(n)
	return fmt.Sprintf("%d, %d", n[len(n)/2], n[len(n)-1])
}
