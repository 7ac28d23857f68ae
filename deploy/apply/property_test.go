package apply_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// like is the dump without what a view leaves to the kernel or to the past: a
// port that was chosen once, an endpoint that a peer once had, and the redirects
// that the kernel itself turns off at wg_open and with forwarding.
func like(k *kernel, v *tunnel.View) []string {
	k = k.clone()
	l := k.links[v.Tunnel]
	delete(k.sysctls, "net/ipv4/conf/all/send_redirects")
	if v.ForwardIPv4 {
		delete(k.sysctls, "net/ipv4/conf/all/accept_redirects")
	}
	if v.ListenPort == 0 {
		l.device.ListenPort = 0
	}
	for _, p := range v.Peers {
		if live := l.peers[p.PublicKey]; p.Endpoint == "" && live != nil {
			live.Endpoint = netip.AddrPort{}
		}
	}
	return k.dump()
}

// seeds are the pairs of views that the property tests try.
func seeds(t *testing.T) int {
	if testing.Short() {
		return 300
	}
	return 1000
}

func random(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 7767)) }

// TestAnyPair holds apply to its word for pairs of views: what comes out does
// not depend on what was there, a second apply has nothing to do, nothing that
// stays is ever missing, and down leaves no trace.
func TestAnyPair(t *testing.T) {
	steps := 0
	for seed := range seeds(t) {
		r := random(seed)
		a, b := applytest.View(r, "wg0"), applytest.View(r, "wg0")
		for _, v := range []*tunnel.View{a, b} {
			if err := v.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		steps += checkPair(t, seed, a, b)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d pairs of views, %d changes, each looked at for gaps", seeds(t), steps)
}

func checkPair(t *testing.T, seed int, a, b *tunnel.View) int {
	h, alone := newHost(t), newHost(t)
	h.userspace, alone.userspace = seed%4 == 0, seed%4 == 0
	if seed%3 == 0 {
		h.canForce()
		alone.canForce()
	}
	if mtu := []int{0, 0, 1300, 1400, 1460}[seed%5]; mtu != 0 {
		h.paths = narrowPaths(mtu)
		alone.paths = h.paths
	}
	origin := h.dump()
	h.apply(t, a)
	h.hook = func(m moment, _ int, c apply.Change) error {
		if m == after {
			for _, what := range h.missing(a, b) {
				t.Errorf("after %s: %s is missing", c, what)
			}
		}
		return nil
	}
	h.n = 0
	first := h.apply(t, b)
	h.hook = nil
	if again, _ := h.plan(t, b); len(again.Steps) > 0 {
		t.Errorf("the second plan is not empty:\n%sthe first was\n%s", spelled(again), spelled(first))
	}
	alone.apply(t, b)
	if d := diff(like(alone.kernel, b), like(h.kernel, b)); d != "" {
		t.Errorf("another state than from nothing:\n%s%s", d, spelled(first))
	}
	changes := h.n
	down := h.down(t, "wg0")
	if d := diff(origin, h.dump()); d != "" {
		t.Errorf("down leaves\n%s%s", d, spelled(down))
	}
	if files, _ := os.ReadDir(h.dir); len(files) > 0 {
		t.Errorf("down leaves %s", files[0].Name())
	}
	return changes
}

// narrowPaths are those to all endpoints that random views have.
func narrowPaths(mtu int) map[netip.Addr]apply.Path {
	to := map[netip.Addr]apply.Path{}
	for _, a := range append(applytest.Endpoints(), apply.Anywhere...) {
		to[a] = apply.Path{Link: "eth0", MTU: mtu}
	}
	return to
}

func spelled(p *apply.Plan) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s  # %s\n", s.Change, s.Why)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return b.String()
}

// missing lists what both views have and the host has not.
func (h *host) missing(a, b *tunnel.View) []string {
	var list []string
	l := h.links["wg0"]
	for _, r := range newKernel().routes {
		if !slices.Contains(h.routes, r) {
			list = append(list, "the uplink's route "+r.Prefix.String())
		}
	}
	if l == nil {
		return append(list, "the link")
	}
	return slices.Concat(list, l.missingPeers(a, b), h.missingRoutes(l, a, b), h.missingSysctls(a, b))
}

func (l *link) missingPeers(a, b *tunnel.View) (list []string) {
	inB := owners(b)
	for prefix, was := range owners(a) {
		to, both := inB[prefix]
		now, held := l.allowed[prefix]
		if both && (!held || now != was && now != to) {
			list = append(list, "the peer of "+prefix.String())
		}
	}
	for _, p := range a.Peers {
		stays := slices.ContainsFunc(b.Peers, func(q tunnel.Peer) bool { return q.PublicKey == p.PublicKey })
		if stays && l.peers[p.PublicKey] == nil {
			list = append(list, "peer "+p.Name)
		}
	}
	return list
}

// owners are the peers that a view's prefixes are allowed to.
func owners(v *tunnel.View) map[netip.Prefix]keyring.PublicKey {
	m := map[netip.Prefix]keyring.PublicKey{}
	for _, p := range v.Peers {
		for _, prefix := range p.AllowedIPs {
			m[prefix] = p.PublicKey
		}
	}
	return m
}

// missingRoutes are those into the tunnel, with its addresses.
func (h *host) missingRoutes(l *link, a, b *tunnel.View) (list []string) {
	for _, x := range a.Addresses {
		own := apply.Address{Prefix: x, Remote: a.Remotes[x.Addr()]}
		stays := slices.Contains(b.Addresses, x) && b.Remotes[x.Addr()] == own.Remote
		if stays && !slices.Contains(l.addresses, own) {
			list = append(list, "address "+x.String())
		}
	}
	for _, x := range a.Routes {
		stays := slices.ContainsFunc(b.Routes, func(y tunnel.Route) bool { return y.Prefix == x.Prefix })
		if stays && !h.leads("wg0", x.Prefix, a.Table) && !h.leads("wg0", x.Prefix, b.Table) {
			list = append(list, "route "+x.Prefix.String())
		}
	}
	return list
}

// unsteady are the sysctls that may have another value than both views ask for.
var unsteady = []string{
	"accept_redirects",                                 // flips for a moment along with forwarding
	"proxy_ndp", "src_valid_mark", "tcp_fwmark_accept", // others need them than the view's sysctls
}

func (h *host) missingSysctls(a, b *tunnel.View) []string {
	var list []string
	if a.ForwardIPv6 && b.ForwardIPv6 && (!h.forwards6("eth0") || !h.forwards6("wg0")) {
		list = append(list, "forwarding of IPv6")
	}
	if a.ForwardIPv4 && b.ForwardIPv4 && h.sysctls["net/ipv4/conf/eth0/forwarding"] != "1" {
		list = append(list, "forwarding of IPv4")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Sysctls)) {
		key, err := tunnel.SysctlPath(name)
		if err != nil || slices.Contains(unsteady, path.Base(key)) {
			continue
		}
		if value := a.Sysctls[name]; value == b.Sysctls[name] && value != h.sysctls[key] {
			list = append(list, "sysctl "+name)
		}
	}
	return list
}
