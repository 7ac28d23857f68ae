package main

import (
	"fmt"
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
)

// vpn is shale's name, which its address may change behind.
const vpn = "vpn.example.net"

// namedTunnel is the first tunnel with an address for shale INSIDE, and its name OUTSIDE.
func namedTunnel(more string) string {
	text := strings.Replace(demo.FirstTunnel, `"`+demo.ShaleAddr+`" `, `"`+vpn+`" `, 1)
	text = strings.Replace(text, `routes    = ["::/0"] `, `addresses = ["10.9.0.1/24"]`+" ", 1)
	return strings.Replace(text, `["2001:db8:7767::2/128"]`, `["10.9.0.2/24"]`, 1) + more
}

// newNamed has hosts whose tunnel has it. Their own names come from files first.
func newNamed(t *testing.T, more string) *labtest.Users {
	t.Helper()
	t.Parallel()
	u := labtest.NewUsers(t)
	u.Tunnel(namedTunnel(more))
	u.Clone()
	u.Must(u.Shale, "wgkeys apply --quiet")
	return u
}

// setHosts gives shale's name these addresses in basalt's hosts(5).
func setHosts(u *labtest.Users, addrs ...string) {
	u.Helper()
	// Without "multi on", Debian's default, the C library takes the first line alone (host.conf(5)).
	u.Must(u.Basalt, "echo multi on >/etc/host.conf; sed -i '/"+vpn+"/d' /etc/hosts")
	for _, a := range addrs {
		u.Must(u.Basalt, "echo "+a+" "+vpn+" >>/etc/hosts")
	}
}

// shaleAnswers waits until shale answers INSIDE.
func shaleAnswers(u *labtest.Users, when string) {
	u.Helper()
	ok := false
	u.Eventually(func() bool {
		ok = u.Run(u.Basalt, "ping -n -c 1 -W 1 10.9.0.1").Code == 0
		return ok
	})
	if !ok {
		u.Fatalf("%s: shale does not answer\n%s", when,
			u.Must(u.Basalt, "wg show; cat /etc/hosts; wgkeys plan 2>&1; pgrep -af wgkeys-"))
	}
}

// shaleMoves gives shale another address, and nothing that its peers hear from there.
func shaleMoves(u *labtest.Users) {
	u.Helper()
	u.Must(u.Shale, "wgkeys down --quiet && ip address del "+demo.ShaleAddr+
		"/24 dev eth0 && ip address add 93.93.130.77/24 dev eth0 && "+
		"ip route replace default via 93.93.130.1 && wgkeys apply --quiet")
}

// endpointFollower is the process on basalt that follows names, or "".
func endpointFollower(u *labtest.Users) string {
	return strings.TrimSpace(u.Run(u.Basalt, "pgrep -f '^wgkeys-names wg0$'").Stdout)
}

// TestLabApplyBothFamiliesOfAName: of a name with an IPv6 and an IPv4 address the one is taken
// that answers. Nobody has to do anything for it.
func TestLabApplyBothFamiliesOfAName(t *testing.T) {
	u := newNamed(t, "keepalive = 3\n")
	u.Must(u.Basalt, "ip address add 2001:db8:9::2/64 dev eth0 nodad && ip -6 route add default via 2001:db8:9::1 dev eth0")
	setHosts(u, "2001:db8:5::99", demo.ShaleAddr)
	if out := u.Must(u.Basalt, "getent ahosts "+vpn); !strings.HasPrefix(out, "2001:db8:5::99") {
		t.Fatalf("the address that leads nowhere is not the first one: %s", out)
	}
	if out := u.Must(u.Basalt, "wgkeys apply"); !strings.Contains(out, "endpoint [2001:db8:5::99]:30567 ") {
		t.Errorf("the first address is not tried first:\n%s", out)
	}
	shaleAnswers(u, "two addresses, the second one answers")
	if out := u.Must(u.Basalt, "wgkeys apply 2>&1"); !strings.Contains(out, "nothing to do") {
		t.Errorf("apply takes the other address back:\n%s", out)
	}
	if j := u.Read(u.Basalt, "/run/wgkeys/wg0.journal"); strings.Count(j, vpn+":30567") != 1 {
		t.Errorf("the journal has the name more than once, and grows with every move:\n%s", j)
	}
}

// TestLabApplyFamilyWithoutARoute: the name has only an IPv6 address, to which basalt has no
// route, so that nothing is ever sent; then it gets an IPv4 one. Nobody has to do anything.
func TestLabApplyFamilyWithoutARoute(t *testing.T) {
	u := newNamed(t, "keepalive = 3\n")
	setHosts(u, "2001:db8:5::99")
	const found = "nothing can be sent to shale at 2001:db8:5::99, OUTSIDE"
	if out := u.Must(u.Basalt, "wgkeys apply 2>&1"); !strings.Contains(out, found) {
		t.Errorf("apply does not tell that there is no route:\n%s", out)
	}
	setHosts(u, "2001:db8:5::99", demo.ShaleAddr)
	shaleAnswers(u, "the name has an address to which there is a route")
}

// TestLabApplyMovedHub: shale's address changes and its name follows. Nobody has to do
// anything for it.
func TestLabApplyMovedHub(t *testing.T) {
	u := newNamed(t, "")
	setHosts(u, demo.ShaleAddr)
	u.Must(u.Basalt, "wgkeys apply --quiet")
	shaleAnswers(u, "before the move")
	shaleMoves(u)
	setHosts(u, "93.93.130.77")
	shaleAnswers(u, "after the move")

	// Who follows the name is started again by the next apply, and ends with a down.
	pid := endpointFollower(u)
	u.Must(u.Basalt, "kill -KILL "+pid)
	u.Eventually(func() bool { return endpointFollower(u) == "" })
	u.Must(u.Basalt, "wgkeys apply --quiet")
	again := endpointFollower(u)
	if again == "" || again == pid || strings.Contains(again, "\n") {
		t.Errorf("the processes that follow names are %q, and were %q", again, pid)
	}
	if u.Must(u.Basalt, "wgkeys apply --quiet"); endpointFollower(u) != again {
		t.Errorf("another apply makes another process: %q, %q", again, endpointFollower(u))
	}
	u.Must(u.Basalt, "wgkeys down --quiet")
	if left := endpointFollower(u) + u.Must(u.Basalt, "ls /run/wgkeys"); left != "lock\n" {
		t.Errorf("down leaves %q", left)
	}
}

// TestLabApplyNameBehindItsOwnTunnel: shale moves, and basalt asks a resolver for its name to
// which the only route is the tunnel itself, as all routes are.
func TestLabApplyNameBehindItsOwnTunnel(t *testing.T) {
	u := newNamed(t, "[hosts.basalt.peer.shale]\nallowed_ips = [\"0.0.0.0/0\", \"10.9.0.1/32\"]\n")
	const zone = "/root/zone"
	u.Write(u.Router, zone, demo.ShaleAddr+" "+vpn+"\n")
	startDNS(u, zone)
	u.Write(u.Basalt, "/etc/resolv.conf", "nameserver "+providerDNS+"\noptions timeout:2\n")
	u.Must(u.Basalt, "wgkeys apply --quiet")
	shaleAnswers(u, "before the move")
	if out := u.Must(u.Basalt, "ip route get "+providerDNS); !strings.Contains(out, "dev wg0") {
		t.Fatalf("the resolver is not asked through the tunnel: %s", out)
	}
	shaleMoves(u)
	u.Write(u.Router, zone, "93.93.130.77 "+vpn+"\n")
	shaleAnswers(u, "after the move")
}

// TestLabApplyNameInItsOwnRoute: shale moves to an address in a network that basalt reaches
// through it. Nobody has to do anything for it, and a plan takes nothing of it back, whether
// shale is there or has gone again.
func TestLabApplyNameInItsOwnRoute(t *testing.T) {
	u := newNamed(t, "keepalive = 3\n[hosts.basalt.peer.shale]\nallowed_ips = [\"93.93.130.64/26\", \"10.9.0.1/32\"]\n")
	setHosts(u, demo.ShaleAddr)
	before := u.Snapshot(u.Basalt)
	u.Must(u.Basalt, "wgkeys apply --quiet")
	shaleAnswers(u, "before the move")
	nothingToDo := func(when string) {
		t.Helper()
		if out := u.Must(u.Basalt, "wgkeys plan 2>&1"); !strings.Contains(out, "nothing to do") {
			t.Errorf("%s there is something to do:\n%s", when, out)
		}
	}
	shaleMoves(u)
	setHosts(u, "93.93.130.77")
	shaleAnswers(u, "after the move")
	nothingToDo("after the move")
	if out := u.Must(u.Basalt, "ip route get 93.93.130.78"); !strings.Contains(out, "dev wg0") {
		t.Errorf("the network is not reached through the tunnel any more: %s", out)
	}
	u.Must(u.Shale, "wgkeys down --quiet && ip address del 93.93.130.77/24 dev eth0 && ip address add "+demo.ShaleAddr+
		"/24 dev eth0 && ip route replace default via 93.93.130.1 && wgkeys apply --quiet")
	setHosts(u, demo.ShaleAddr)
	shaleAnswers(u, "after the way back")
	nothingToDo("after the way back")
	u.Must(u.Basalt, "wgkeys down --quiet")
	u.Same(u.Basalt, before, "after down")
}

// providerDNS is the resolver of basalt's provider, beyond its router.
const providerDNS = "198.51.100.53"

// startDNS starts it.
func startDNS(u *labtest.Users, zone string) {
	u.Helper()
	u.Must(u.Router, "ip address add "+providerDNS+"/32 dev lo")
	if err := u.Router.Install("standin-dns", "/proc/self/exe"); err != nil {
		u.Fatal(err)
	}
	u.Must(u.Router, "standin-dns "+providerDNS+" "+zone+" </dev/null >/dev/null 2>&1 &")
	u.Eventually(func() bool { return u.Run(u.Router, "ss -lun | grep -q "+providerDNS).Code == 0 })
}

// TestLabApplyDeadResolverFirst: the first of the system's resolvers says nothing, and the
// system waits for it for as long as an apply does for all of its names.
func TestLabApplyDeadResolverFirst(t *testing.T) {
	u := newNamed(t, "")
	u.Write(u.Router, "/root/zone", demo.ShaleAddr+" "+vpn+"\n")
	startDNS(u, "/root/zone")
	u.Must(u.Basalt, "ip neigh add 192.0.2.53 lladdr 02:00:00:00:00:53 dev eth0 nud permanent")
	u.Write(u.Basalt, "/etc/resolv.conf", "nameserver 192.0.2.53\nnameserver "+providerDNS+"\n")
	if out := u.Must(u.Basalt, "wgkeys apply 2>&1"); !strings.Contains(out, "endpoint "+demo.ShaleAddr+":30567 ") {
		t.Errorf("the other resolver is not asked:\n%s", out)
	}
}

// TestLabApplyResolverSilentForIPv6: as many a router at home, the resolver answers nothing
// to a question for IPv6. The system waits for that longer than an apply waits for its names.
func TestLabApplyResolverSilentForIPv6(t *testing.T) {
	u := newNamed(t, "")
	u.Write(u.Router, "/root/zone", "silent "+vpn+"\n"+demo.ShaleAddr+" "+vpn+"\n")
	startDNS(u, "/root/zone")
	u.Write(u.Basalt, "/etc/resolv.conf", "nameserver "+providerDNS+"\n")
	if out := u.Must(u.Basalt, "wgkeys apply 2>&1"); !strings.Contains(out, "endpoint "+demo.ShaleAddr+":30567 ") {
		t.Errorf("its IPv4 address is not found:\n%s", out)
	}
}

// resolvconfLike orders as openresolv 3.12 does: the tunnel's resolvers come first.
const resolvconfLike = `#!/bin/sh
D=/run/resolvconf/interfaces; mkdir -p $D; cd $D || exit 1
case $1 in -a) cat >"$2";; -d) rm -f "$2";; esac
cat vpn.* eth0* 2>/dev/null >/etc/resolv.conf
exit 0
`

// TestLabApplyResolverInsideAtBoot: the resolver that the tunnel file names is INSIDE, and
// when the tunnel is brought up there is no network yet. When there is, the tunnel
// comes up by itself, and names are asked through it.
func TestLabApplyResolverInsideAtBoot(t *testing.T) {
	u := newNamed(t, `dns = ["10.9.0.1", "~."]`+"\nkeepalive = 5\n")
	u.Write(u.Router, "/root/zone", demo.ShaleAddr+" "+vpn+"\n")
	startDNS(u, "/root/zone")
	u.Write(u.Basalt, "/usr/local/bin/resolvconf", resolvconfLike)
	u.Must(u.Basalt, "chmod +x /usr/local/bin/resolvconf; echo nameserver "+providerDNS+" | resolvconf -a eth0.dhcp")
	u.Must(u.Basalt, "ip link set eth0 down")
	r := u.Run(u.Basalt, "wgkeys apply")
	if r.Code != 0 || !strings.Contains(r.Stderr, "its endpoint "+vpn+":30567, OUTSIDE, cannot be resolved now") ||
		!strings.Contains(r.Stdout, "peer shale, to be reached at "+vpn+":30567, OUTSIDE, which cannot be resolved now") {
		t.Errorf("without a network: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Basalt, "wgkeys status basalt"); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "nothing can be sent there: shale at "+vpn+":30567") {
		t.Errorf("status without a network: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if conf := u.Read(u.Basalt, "/etc/resolv.conf"); !strings.HasPrefix(conf, "nameserver 10.9.0.1\n") {
		t.Fatalf("the tunnel's resolver is not the first one: %s", conf)
	}
	u.Must(u.Basalt, "ip link set eth0 up && ip route replace default via 192.0.2.1")
	shaleAnswers(u, "with a network")
}

// TestLabApplyResolverThatFails: another program's trouble with resolvers is reported and
// found, and takes no tunnel down.
func TestLabApplyResolverThatFails(t *testing.T) {
	u := newNamed(t, `dns = ["10.9.0.1"]`+"\n")
	setHosts(u, demo.ShaleAddr)
	const path = "/usr/local/bin/resolvconf"
	u.Write(u.Basalt, path, "#!/bin/sh\necho resolv.conf is not mine >&2\nexit 1\n")
	u.Must(u.Basalt, "chmod +x "+path)
	for range 2 {
		r := u.Run(u.Basalt, "wgkeys apply")
		if r.Code != ui.ExitDone || strings.Count(r.Stderr, "resolv.conf is not mine; the tunnel is up without it") != 1 {
			t.Errorf("apply: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
		shaleAnswers(u, "without its resolvers")
	}
	if r := u.Run(u.Basalt, "wgkeys status basalt"); r.Code != ui.ExitFindings {
		t.Errorf("status: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys down && wgkeys apply -q")
	u.Write(u.Basalt, path, resolvconfLike)
	u.Must(u.Basalt, "chmod +x "+path+
		" && wgkeys apply -q && wgkeys plan && grep -q 10.9.0.1 /etc/resolv.conf && wgkeys down")
}

// TestLabApplyNamesAsTheSystemDoes: what gai.conf(5) says of the order of addresses is known
// to the C library alone.
func TestLabApplyNamesAsTheSystemDoes(t *testing.T) {
	u := newNamed(t, "")
	u.Must(u.Basalt, "ip address add 2001:db8:9::2/64 dev eth0 nodad && ip -6 route add default via 2001:db8:9::1 dev eth0")
	setHosts(u, "2001:db8:5::99", demo.ShaleAddr)
	for conf, want := range map[string]string{
		"": "endpoint [2001:db8:5::99]:30567 ",
		"precedence ::ffff:0:0/96 100\nprecedence ::/0 40\n": "endpoint " + demo.ShaleAddr + ":30567 ",
	} {
		u.Write(u.Basalt, "/etc/gai.conf", conf)
		if out := u.Run(u.Basalt, "wgkeys plan").Stdout; !strings.Contains(out, want) {
			t.Errorf("gai.conf(5) %q: no %q in\n%s", conf, want, out)
		}
	}
	u.Must(u.Basalt, "mv /usr/bin/getent /usr/bin/getent.away")
	if out := u.Run(u.Basalt, "wgkeys plan").Stdout; !strings.Contains(out, ":30567 ") ||
		strings.Contains(out, "cannot be resolved") {
		t.Errorf("without getent(1):\n%s", out)
	}
}

// TestLabApplyNamesWithoutAnAnswer: resolvers that answer nothing keep a hub of many from
// coming up no longer than they keep one, and it is said once.
func TestLabApplyNamesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	const peers = 299
	h := newHub(t, peers)
	h.sh("ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0")
	h.sh("echo nameserver 203.0.113.53 >/etc/resolv.conf")
	v := manyView(peers)
	if err := v.PublicKey.UnmarshalText([]byte(strings.TrimSpace(h.sh("wg pubkey </etc/wireguard/wg0.key")))); err != nil {
		t.Fatal(err)
	}
	for i := range v.Peers {
		v.Peers[i].Endpoint = fmt.Sprintf("h%d.example.net:51820", i)
	}
	h.write(v, "wg0")
	out := h.sh("wgkeys apply --view wg0.view 2>&1 >/dev/null")
	if strings.Count(out, "note: ") != 1 ||
		!strings.Contains(out, "the endpoints of 299 peers, OUTSIDE, cannot be resolved now: ") {
		t.Errorf("apply says:\n%s", out)
	}
	if n := strings.Count(h.sh("wg show wg0 peers"), "\n"); n != peers {
		t.Errorf("%d peers, want %d", n, peers)
	}
	h.sh("wgkeys down --quiet")
}
