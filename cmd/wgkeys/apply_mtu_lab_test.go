package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
	"wgkeys/keyring/lazyregexp"
)

// A narrowLab is a spoke whose uplink is narrow, and a hub that has another:
//
//	spoke eth0 ── spoke0 router hub0 ── eth0 hub
//	192.0.2.2, 2001:db8:1::2       198.51.100.2, 2001:db8:2::2
//
// The tunnel wg0 is between them, and wg1, for those who want it, inside wg0.
type narrowLab struct {
	t                  *testing.T
	spoke, router, hub *lab.Host
	keys               map[string]map[string]keyring.PublicKey // by tunnel and host
}

func newNarrowLab(t *testing.T) *narrowLab {
	labtest.Require(t, "wg", "ping")
	l, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	n := &narrowLab{t: t, keys: map[string]map[string]keyring.PublicKey{"wg0": {}, "wg1": {}}}
	for name, host := range map[string]**lab.Host{"spoke": &n.spoke, "router": &n.router, "hub": &n.hub} {
		if *host, err = l.Host(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []*lab.Host{n.spoke, n.hub} {
		if err := l.Link(h, "eth0", n.router, h.Name()+"0"); err != nil {
			t.Fatal(err)
		}
		if err := h.Install("wgkeys", self(t)); err != nil {
			t.Fatal(err)
		}
	}
	n.sh(n.router, `sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		ip address add 192.0.2.1/24 dev spoke0; ip address add 2001:db8:1::1/64 dev spoke0
		ip address add 198.51.100.1/24 dev hub0; ip address add 2001:db8:2::1/64 dev hub0`)
	n.sh(n.spoke, `ip address add 192.0.2.2/24 dev eth0; ip address add 2001:db8:1::2/64 dev eth0
		ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:1::1`)
	n.sh(n.hub, `ip address add 198.51.100.2/24 dev eth0; ip address add 2001:db8:2::2/64 dev eth0
		ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8:2::1`)
	for name, keys := range n.keys {
		for _, h := range []*lab.Host{n.spoke, n.hub} {
			text := n.sh(h, "umask 077; f=/etc/wireguard/"+name+".key; wg genkey >$f; wg pubkey <$f")
			if keys[h.Name()], err = keyring.ParsePublicKey([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sh runs lines of shell that have to succeed.
func (n *narrowLab) sh(h *lab.Host, script string) string {
	n.t.Helper()
	out, err := h.Run(n.t.Context(), "sh", "-e", "-c", "cd /root; "+script)
	if err != nil {
		n.t.Fatalf("%s: %v", script, err)
	}
	return out
}

// uplink sets how wide the spoke's uplink is, at both of its ends.
func (n *narrowLab) uplink(mtu int) {
	n.t.Helper()
	for h, link := range map[*lab.Host]string{n.spoke: "eth0", n.router: "spoke0"} {
		if err := h.IP(fmt.Sprintf("link set %s mtu %d", link, mtu)); err != nil {
			n.t.Fatal(err)
		}
	}
}

// apply brings the tunnels up, or changes them; mtu is what their files say, by
// tunnel, or 0. It returns what the spoke's applies said.
func (n *narrowLab) apply(c narrowCase, mtu [2]int) (said string) {
	n.t.Helper()
	for i, endpoint := range c.endpoints() {
		name := fmt.Sprintf("wg%d", i)
		text := fmt.Sprintf("listen_port = %d\n[hosts.hub]\nendpoint = %q\naddresses = [\"10.%d.0.1/24\"]\n[hosts.spoke]\naddresses = [\"10.%d.0.2/24\"]\n",
			30567+i, endpoint, 70+i, 70+i)
		if mtu[i] != 0 {
			text = fmt.Sprintf("mtu = %d\n", mtu[i]) + text
		}
		tun, err := tunnel.Parse(fstest.MapFS{name + ".toml": {Data: []byte(text)}}, name)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, h := range []*lab.Host{n.hub, n.spoke} {
			v, err := tun.View(h.Name(), n.keys[name])
			if err != nil {
				n.t.Fatal(err)
			}
			var view bytes.Buffer
			if err := tunnel.EncodeView(&view, v); err != nil {
				n.t.Fatal(err)
			}
			if err := h.WriteFile("/root/"+name+".view", view.Bytes(), 0o600); err != nil {
				n.t.Fatal(err)
			}
			said = n.sh(h, "wgkeys apply --view "+name+".view 2>&1")
		}
		n.sh(n.spoke, fmt.Sprintf("ping -n -c 1 -w 10 10.%d.0.1", 70+i)) // the spoke alone knows an endpoint
	}
	return said
}

// down takes both tunnels down.
func (n *narrowLab) down() {
	n.t.Helper()
	for _, h := range []*lab.Host{n.spoke, n.hub} {
		n.sh(h, "for t in wg1 wg0; do wgkeys down --quiet -t $t; done")
	}
}

// A narrowCase is an uplink, the family of the endpoint, and whether the tunnel is
// inside another.
type narrowCase struct {
	uplink       int
	ipv6, inside bool
}

func (c narrowCase) String() string {
	s := fmt.Sprintf("%d, IPv%d", c.uplink, map[bool]int{false: 4, true: 6}[c.ipv6])
	if c.inside {
		s += ", in a tunnel"
	}
	return s
}

func (c narrowCase) endpoints() []string {
	outer := map[bool]string{false: "198.51.100.2", true: "2001:db8:2::2"}[c.ipv6]
	if c.inside {
		return []string{outer, "10.70.0.1"}
	}
	return []string{outer}
}

// fits are the largest MTUs of wg0 and wg1 that fit, and chosen those that apply
// chooses: in steps of 16, and 1420 at most.
func (c narrowCase) fits() [2]int {
	outer := c.uplink - map[bool]int{false: 60, true: 80}[c.ipv6]
	return [2]int{outer, outer - 60}
}

func (c narrowCase) chosen() [2]int {
	outer := min(c.fits()[0]&^15, 1420)
	if outer == 1392 { // slow in user space
		outer = 1376
	}
	return [2]int{outer, (outer - 60) &^ 15}
}

// own is the tunnel that is tried, and where its hub is, INSIDE.
func (c narrowCase) own() (name, hub string) {
	if c.inside {
		return "wg1", "10.71.0.1"
	}
	return "wg0", "10.70.0.1"
}

const megabytes5 = 5_000_000

// transfer sends 5 MB through the tunnel, to the hub or from it, and returns how
// long that takes.
func (n *narrowLab) transfer(hub string, fromHub bool) time.Duration {
	n.t.Helper()
	listener := labtest.InNetwork(n.t, n.hub, func() (net.Listener, error) { return net.Listen("tcp4", hub+":0") })
	defer listener.Close()
	send := func(c net.Conn) error {
		if _, err := io.Copy(c, io.LimitReader(zeros{}, megabytes5)); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	receive := func(c net.Conn) error {
		if _, err := io.CopyN(io.Discard, c, megabytes5); err != nil {
			return err
		}
		_, err := c.Write([]byte{0})
		return err
	}
	atHub, atSpoke := receive, send
	if fromHub {
		atHub, atSpoke = send, receive
	}
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			err = atHub(c)
			c.Close()
		}
		served <- err
	}()
	c := labtest.InNetwork(n.t, n.spoke,
		func() (net.Conn, error) { return net.DialTimeout("tcp4", listener.Addr().String(), 30*time.Second) })
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	start := time.Now()
	if err := atSpoke(c); err != nil {
		n.t.Fatalf("5 MB do not get through: %v", err)
	}
	if err := <-served; err != nil {
		n.t.Fatalf("5 MB do not get through: %v", err)
	}
	return time.Since(start)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// fragments counts those that all hosts have made so far.
func (n *narrowLab) fragments() (sum int) {
	n.t.Helper()
	for _, h := range []*lab.Host{n.spoke, n.router, n.hub} {
		made := n.sh(h, `awk '/^Ip:/ { if (n++) print $c; else for (i = 1; i <= NF; i++) if ($i == "FragCreates") c = i }' /proc/net/snmp
			awk '$1 == "Ip6FragCreates" { print $2 }' /proc/net/snmp6`)
		for f := range strings.FieldsSeq(made) {
			count, err := strconv.Atoi(f)
			if err != nil {
				n.t.Fatal(err)
			}
			sum += count
		}
	}
	return sum
}

var linkMTU = lazyregexp.New(` mtu (\d+) `)

// mtu is that of a link of the spoke's.
func (n *narrowLab) mtu(link string) int {
	n.t.Helper()
	m := linkMTU().FindStringSubmatch(n.sh(n.spoke, "ip link show dev "+link))
	mtu, err := strconv.Atoi(m[1])
	if err != nil {
		n.t.Fatal(err)
	}
	return mtu
}

// Where no MTU is given all fits: 5 MB get through a narrow uplink, both ways, and
// not one packet has to be cut. The next apply follows an uplink that changes, and
// one that has nothing to do does nothing.
func TestLabApplyNarrowUplink(t *testing.T) {
	t.Parallel()
	n := newNarrowLab(t)
	for _, c := range []narrowCase{{1460, false, false}, {1400, false, true}, {1280, true, false}, {1460, true, true}} {
		n.uplink(c.uplink)
		said := n.apply(c, [2]int{})
		name, hub := c.own()
		want := c.chosen()[len(c.endpoints())-1]
		if got := n.mtu(name); got != want || !strings.Contains(said, fmt.Sprintf(" mtu %d ", want)) ||
			!strings.Contains(said, " bytes to peer hub, OUTSIDE: ") {
			t.Errorf("%s: the MTU is %d, want %d; apply said\n%s", c, got, want, said)
		}
		before := n.fragments()
		n.transfer(hub, false)
		n.transfer(hub, true)
		if cut := n.fragments() - before; cut != 0 {
			t.Errorf("%s: %d fragments", c, cut)
		}
		if again := n.sh(n.spoke,
			"wgkeys plan --view "+name+".view && wgkeys apply --view "+name+".view 2>&1"); !strings.Contains(again,
			"nothing to do") {
			t.Errorf("%s: the second apply says\n%s", c, again)
		}
	}
	n.down()
}

// An MTU that does not fit is a note, and all gets through all the same: in
// fragments, also where the device in user space lets the kernel cut packets.
func TestLabApplyTooLargeMTU(t *testing.T) {
	t.Parallel()
	n := newNarrowLab(t)
	for _, c := range []narrowCase{{1400, false, false}, {1400, true, false}} {
		n.uplink(c.uplink)
		said := n.apply(c, [2]int{1420, 1420})
		if !strings.Contains(said, "mtu = 1420 is more than fits: eth0 carries 1400 bytes to peer hub, OUTSIDE") {
			t.Errorf("%s: apply says\n%s", c, said)
		}
		before := n.fragments()
		n.transfer("10.70.0.1", false)
		if n.fragments() == before {
			t.Errorf("%s: nothing had to be cut", c)
		}
	}
	n.down()
}
