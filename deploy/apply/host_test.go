package apply_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/applytest"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

var publicKey = applytest.PublicKey

// newKernel is a VPS: its IPv4 is fixed, its IPv6 default route was learned
// from router advertisements, and a bridge for containers forwards already.
func newKernel() *kernel {
	k := &kernel{
		links:     map[string]*link{"eth0": {}, "br0": {}},
		filters:   map[string]*apply.Filter{},
		dns:       map[string][]string{},
		unmanaged: map[journal.Resource]string{},
		keyFiles:  map[string]apply.KeyFile{},
		names:     map[string]apply.Endpoint{},
		sysctls: map[string]string{
			"net/ipv4/ip_forward":                  "0",
			"net/ipv4/conf/default/rp_filter":      "2",
			"net/ipv4/conf/all/accept_redirects":   "1",
			"net/ipv4/conf/all/send_redirects":     "1",
			"net/ipv4/tcp_fwmark_accept":           "0",
			"net/ipv4/conf/default/send_redirects": "1",
			"net/ipv6/conf/default/accept_ra":      "1",
			"net/ipv6/conf/all/accept_ra":          "1",
			"net/ipv4/tcp_rmem":                    "4096 131072 6291456",
			"net/ipv4/tcp_mtu_probing":             "0",
			"net/core/rmem_max":                    "212992",
		},
	}
	for dir, keys := range perLink {
		for _, name := range []string{"all", "default"} {
			for _, key := range keys {
				if path := dir + "/" + name + "/" + key; k.sysctls[path] == "" {
					k.sysctls[path] = "0"
				}
			}
		}
	}
	k.appear("eth0")
	k.appear("br0")
	k.sysctls["net/ipv6/conf/br0/forwarding"] = "1"
	k.sysctls["net/ipv6/conf/br0/accept_ra"] = "0"
	k.routes = []route{
		{apply.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("93.93.130.1")}, "eth0", false},
		{apply.Route{Prefix: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fe80::1"), Metric: 100}, "eth0",
			true},
	}
	return k
}

// clone returns a host that is as k is now.
func (k *kernel) clone() *kernel {
	c := *k
	c.n, c.hook = 0, nil
	c.links = map[string]*link{}
	for name, l := range k.links {
		m := *l
		m.addresses = slices.Clone(l.addresses)
		m.allowed = maps.Clone(l.allowed)
		if l.peers != nil {
			m.peers = map[keyring.PublicKey]*apply.Peer{}
		}
		for key, p := range l.peers {
			q := *p
			m.peers[key] = &q
		}
		c.links[name] = &m
	}
	c.routes, c.rules, c.proxies = slices.Clone(k.routes), slices.Clone(k.rules), slices.Clone(k.proxies)
	c.nowhere = slices.Clone(k.nowhere)
	c.filters, c.dns, c.sysctls = maps.Clone(k.filters), maps.Clone(k.dns), maps.Clone(k.sysctls)
	c.unmanaged = maps.Clone(k.unmanaged)
	return &c
}

// dump is the host as ip(8), wg(8) and sysctl(8) would make it, line by line.
func (k *kernel) dump() []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for name, l := range k.links {
		if l.Kind == "" {
			continue
		}
		say("ip link %s mtu %d up %v", name, l.MTU, l.Up)
		say("wg set %s public-key %s listen-port %d fwmark %#x", name, l.device.PublicKey, l.device.ListenPort,
			l.device.FwMark)
		for key, p := range l.peers {
			say("wg set %s peer %s%s allowed-ips %v", name, key, peerWords(p), l.prefixes(key))
		}
		for _, a := range l.addresses {
			say("ip address %s dev %s", a, name)
		}
	}
	for _, r := range k.routes {
		say("ip route %s dev %s%s", r.Prefix, r.link, r.words())
	}
	for _, r := range k.rules {
		say("ip rule %s", r)
	}
	for _, u := range k.nowhere {
		say("ip route unreachable %s table %d", u.Prefix, u.Table)
	}
	for _, p := range k.proxies {
		say("ip neigh proxy %s", p)
	}
	for name, f := range k.filters {
		say("nft %s %s", name, f)
	}
	for name, d := range k.dns {
		say("resolvectl %s %v", name, d)
	}
	for key, value := range k.sysctls {
		say("sysctl %s=%s", key, value)
	}
	slices.Sort(lines)
	return lines
}

// words are what a route has beside its prefix and its link.
func (r route) words() string {
	return word(" via", r.Gateway) + word(" metric", r.Metric) + word(" table", r.Table) +
		map[bool]string{true: " proto ra"}[r.ra]
}

func peerWords(p *apply.Peer) string {
	return word(" preshared-key", p.PSK[:min(8, len(p.PSK))]) + word(" endpoint", p.Endpoint) +
		word(" persistent-keepalive", p.Keepalive)
}

// word is empty for a zero value.
func word[T comparable](name string, value T) string {
	if value == *new(T) {
		return ""
	}
	return fmt.Sprintf("%s %s", name, fmt.Sprint(value))
}

// A host is a kernel and the folder of its journals.
type host struct {
	*kernel
	dir string
}

func newHost(t *testing.T) *host { return &host{newKernel(), t.TempDir()} }

func (h *host) journal(t testing.TB, name string) (*journal.Journal, journal.Entries) {
	t.Helper()
	j, err := journal.Open(h.dir, name)
	if err != nil {
		t.Fatal(err)
	}
	others, _, err := journal.Others(h.dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return j, others
}

// plan is what apply would do now.
func (h *host) plan(t testing.TB, v *tunnel.View) (*apply.Plan, *journal.Journal) {
	t.Helper()
	h.install(v)
	j, others := h.journal(t, v.Tunnel)
	state, err := h.Observe(t.Context(), v.Tunnel, v, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := apply.Make(v, state, j, others)
	if err != nil {
		t.Fatal(err)
	}
	return plan, j
}

// install puts the view's key files on the host, as push would.
func (h *host) install(v *tunnel.View) {
	h.keyFiles[v.PrivateKeyFile] = apply.KeyFile{PublicKey: v.PublicKey}
	for _, p := range v.Peers {
		if p.PresharedKeyFile != "" {
			h.keyFiles[p.PresharedKeyFile] = apply.KeyFile{Fingerprint: fmt.Sprintf("%x",
				sha256.Sum256([]byte(p.PresharedKeyFile)))}
		}
	}
}

func (h *host) apply(t testing.TB, v *tunnel.View) *apply.Plan {
	t.Helper()
	plan, err := h.tryApply(t, v)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (h *host) tryApply(t testing.TB, v *tunnel.View) (*apply.Plan, error) {
	t.Helper()
	plan, j := h.plan(t, v)
	return plan, apply.Run(t.Context(), h.kernel, j, plan, func(apply.Step) {})
}

func (h *host) down(t testing.TB, name string) *apply.Plan {
	t.Helper()
	j, others := h.journal(t, name)
	state, err := h.Observe(t.Context(), name, nil, j.Entries)
	if err != nil {
		t.Fatal(err)
	}
	plan := apply.MakeDown(name, state, j, others)
	if err := apply.RunDown(context.Background(), h.kernel, j, plan, func(apply.Step) {}); err != nil {
		t.Fatal(err)
	}
	return plan
}

// diff lists the lines that only one of two dumps has.
func diff(a, b []string) string {
	var out strings.Builder
	for _, line := range a {
		if _, found := slices.BinarySearch(b, line); !found {
			fmt.Fprintf(&out, "- %s\n", line)
		}
	}
	for _, line := range b {
		if _, found := slices.BinarySearch(a, line); !found {
			fmt.Fprintf(&out, "+ %s\n", line)
		}
	}
	return out.String()
}
