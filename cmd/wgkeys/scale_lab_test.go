package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

const manyPeers = 10_000

// A hub is a host with many peers: each has an endpoint, one address and, with
// it, one route.
type hub struct {
	testing.TB
	*lab.Host
}

// newHub has a private key, the view wg0.view and, for wg-quick(8), the same
// tunnel as wg0.conf; in wg0-changed.view and .conf one peer is another.
func newHub(t testing.TB, peers int) *hub {
	t.Helper()
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	host, err := l.Host("hub")
	if err != nil {
		t.Fatal(err)
	}
	uplink(t, l, host)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Install("wgkeys", self); err != nil {
		t.Fatal(err)
	}
	h := &hub{t, host}
	h.sh("umask 077 && wg genkey >/etc/wireguard/wg0.key")
	v := manyView(peers)
	if v.PublicKey, err = keyring.ParsePublicKey([]byte(h.sh("wg pubkey </etc/wireguard/wg0.key"))); err != nil {
		t.Fatal(err)
	}
	h.write(v, "wg0")
	v.Peers[peers/2].Keepalive = 25
	h.write(v, "wg0-changed")
	v.Peers, v.Routes, v.Addresses = nil, nil, nil
	h.write(v, "empty")
	return h
}

// uplink gives a host a way to everybody, as one has whose peers have endpoints.
func uplink(t testing.TB, l *lab.Lab, host *lab.Host) {
	t.Helper()
	router, err := l.Host("router")
	if err == nil {
		err = l.Link(host, "eth0", router, "eth0")
	}
	for _, args := range []string{"address add 192.0.2.2/24 dev eth0", "route add default via 192.0.2.1"} {
		if err == nil {
			err = host.IP(args)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func manyView(peers int) *tunnel.View {
	v := &tunnel.View{
		Tunnel: "wg0", Host: "hub", PrivateKeyFile: "/etc/wireguard/wg0.key", ListenPort: 30567,
		Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:7767::1/128")},
	}
	for i := range peers {
		name := fmt.Sprintf("h%05d", i)
		addr := netip.MustParseAddr("2001:db8:7767::").As16()
		binary.BigEndian.PutUint32(addr[12:], uint32(i+2))
		prefix := netip.PrefixFrom(netip.AddrFrom16(addr), 128)
		key := keyring.PublicKey(sha256.Sum256([]byte(name)))
		key[31] &= 0x7f // below 2^255, as RFC 7748 spells it
		v.Peers = append(v.Peers, tunnel.Peer{
			Name:       name,
			PublicKey:  key,
			Endpoint:   fmt.Sprintf("198.%d.%d.%d:51820", 18+i>>16, i>>8&255, i&255),
			AllowedIPs: []netip.Prefix{prefix},
		})
		v.Routes = append(v.Routes, tunnel.Route{Prefix: prefix, Peer: name})
	}
	return v
}

func (h *hub) write(v *tunnel.View, name string) {
	h.Helper()
	var view, quick bytes.Buffer
	if err := tunnel.EncodeView(&view, v); err != nil {
		h.Fatal(err)
	}
	fmt.Fprintf(&quick, "[Interface]\nPrivateKey = %sListenPort = %d\n", h.sh("cat /etc/wireguard/wg0.key"), v.ListenPort)
	if name == "wg0" {
		fmt.Fprintf(&quick, "Address = %s\n", v.Addresses[0]) // wg-quick's, which wg does not know
	}
	for _, p := range v.Peers {
		fmt.Fprintf(&quick, "[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = %s\nPersistentKeepalive = %d\n",
			p.PublicKey, p.AllowedIPs[0], p.Endpoint, p.Keepalive)
	}
	for path, text := range map[string][]byte{"/root/" + name + ".view": view.Bytes(), "/etc/wireguard/" + name +
		".conf": quick.Bytes()} {
		if err := h.WriteFile(path, text, 0o600); err != nil {
			h.Fatal(err)
		}
	}
}

// sh runs a line of shell that has to succeed and returns its output.
func (h *hub) sh(script string) string {
	h.Helper()
	out, err := h.Run(h.Context(), "bash", "-c", "cd /root; "+script)
	if err != nil {
		h.Fatalf("%s: %v", script, err)
	}
	return out
}

// time is how many seconds a command takes, without the way to the host.
func (h *hub) time(command string) float64 {
	h.Helper()
	out := h.sh("TIMEFORMAT=%R; { time { " + command + "; } >/run/said 2>&1; } 2>&1 || { cat /run/said; exit 1; }")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		h.Fatalf("%s: %q", command, out)
	}
	h.Logf("%8.3f s  %s", seconds, command)
	return seconds
}

// Ten thousand peers work, what is as wanted needs no step, and all of it goes
// sooner than it came: the kernel by itself takes ten times longer.
func TestLabManyPeers(t *testing.T) {
	labtest.Require(t, "wg")
	h := newHub(t, manyPeers)
	up := h.time("wgkeys apply --view wg0.view")
	for _, count := range []string{"wg show wg0 allowed-ips | wc -l", "ip -6 route show dev wg0 proto static | wc -l"} {
		if got := strings.TrimSpace(h.sh(count)); got != strconv.Itoa(manyPeers) {
			t.Errorf("%s says %s", count, got)
		}
	}
	h.time("wgkeys plan --view wg0.view")
	if out := h.sh("wgkeys apply --view wg0-changed.view"); strings.Count(out, "\n") != 1 ||
		!strings.Contains(out, " persistent-keepalive 25 ") {
		t.Errorf("a change of one peer takes the steps\n%s", out)
	}
	if down := h.time("wgkeys down"); down > up {
		t.Errorf("down takes %.1f s, and apply took %.1f s", down, up)
	}
}

// BenchmarkManyPeers compares with wg-quick(8) and wg(8) on the same machine in
// the same run, for `make scale`: wgkeys's time in that of each. It tells ratios,
// for a machine that emulates is slow, and decides nothing.
func BenchmarkManyPeers(b *testing.B) {
	h := newHub(b, manyPeers)
	cold := h.time("wgkeys apply --view wg0.view")
	var planned, none, dump, one, sync []float64
	for range 5 {
		planned = append(planned, h.time("rm -f /run/wgkeys/wg0.known; wgkeys apply --view wg0.view"))
		none = append(none, h.time("wgkeys apply --view wg0.view"))
		dump = append(dump, h.time("wg show wg0 dump"))
		one = append(one, h.time("wgkeys apply --view wg0-changed.view"))
		sync = append(sync, h.time("wg syncconf wg0 <(grep -v ^Address /etc/wireguard/wg0.conf)"))
	}
	down := h.time("wgkeys down")
	h.sh("wgkeys apply --view wg0.view")
	bare := h.time("ip link del wg0")
	h.sh("wgkeys down")
	b.ReportMetric(median(planned)/median(dump), "planned-no-op/dump")
	b.ReportMetric(median(none)/median(dump), "no-op/dump")
	b.ReportMetric(median(one)/median(sync), "one-peer/syncconf")
	b.ReportMetric(bare/down, "link-del/down")
	if lab.Kernel() != "vm" { // where it takes hours
		b.ReportMetric(h.quick(21*cold)/cold, "wg-quick/cold")
	}
}

// BenchmarkManyPeersQuick is wg-quick(8) to its end, with so many peers that it
// comes to one also in a machine that emulates.
func BenchmarkManyPeersQuick(b *testing.B) {
	for _, peers := range []int{500, 1000} {
		b.Run(strconv.Itoa(peers), func(b *testing.B) {
			h := newHub(b, peers)
			up, down := h.time("wgkeys apply --view wg0.view"), h.time("wgkeys down")
			h.standIn()
			quickUp, quickDown := h.time("wg-quick up wg0"), h.time("wg-quick down wg0")
			b.ReportMetric(quickUp/up, "wg-quick-up/apply")
			b.ReportMetric(quickDown/down, "wg-quick-down/down")
		})
	}
}

// quick is how long wg-quick takes, which is given up after so many seconds.
func (h *hub) quick(limit float64) float64 {
	h.Helper()
	h.standIn()
	took := h.time(fmt.Sprintf("timeout --kill-after 5 %.0f wg-quick up wg0 || test $? -ge 124", limit))
	h.Logf("wg-quick has set %s routes", strings.TrimSpace(h.sh("grep -c 'route add' /run/said || true")))
	return took
}

// standIn has wg-quick use the same device as wgkeys where the kernel has no
// WireGuard.
func (h *hub) standIn() {
	h.Helper()
	h.sh(`printf '#!/bin/sh\nexec wgkeys apply --view /root/empty.view\n' >/usr/local/bin/wireguard-go && chmod +x /usr/local/bin/wireguard-go`)
}

func median(d []float64) float64 {
	slices.Sort(d)
	return d[len(d)/2]
}
