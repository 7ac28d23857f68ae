package lookup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/tunnel"
)

// TestResolversAreRead: each program has its own format for resolvers.
func TestResolversAreRead(t *testing.T) {
	if got, want := fmt.Sprint(nameservers("# nameserver 192.0.2.9\nnameserver 192.0.2.53\n search nameserver\nnameserver\tfe80::1%eth0 # x\nnameserver no\n")), "[192.0.2.53 fe80::1%eth0]"; got != want {
		t.Errorf("resolv.conf: %s, want %s", got, want)
	}
	const said = "Global: 198.51.100.1\nLink 2 (eth0): 192.0.2.53 2001:db8::53#dns.example.net\n               192.0.2.54\nLink 7 (wg0): 10.9.0.1\n              10.9.0.2\nLink 8 (wg0x): 192.0.2.99\n"
	if got, want := fmt.Sprint(resolvedServers(said, "wg0")),
		"[198.51.100.1 192.0.2.53 2001:db8::53 192.0.2.54 192.0.2.99]"; got != want {
		t.Errorf("systemd-resolved: %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(addressesIn([]byte("2001:db8::1     STREAM n\n2001:db8::1     DGRAM  \n192.0.2.1       STREAM \n::ffff:192.0.2.1 RAW\nnonsense\n"))), "[2001:db8::1 192.0.2.1]"; got != want {
		t.Errorf("getent: %s, want %s", got, want)
	}
}

func TestIsName(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"": false, "192.0.2.1:51820": false, "[2001:db8::1]:51820": false, "[fe80::1%eth0]:51820": false,
		"vpn.example.net:51820": true, "hub:1": true,
	} {
		if got := tunnel.IsName(endpoint); got != want {
			t.Errorf("%q is a name: %t", endpoint, got)
		}
	}
}

// TestEndpointOf: the answers of a resolver that blocks a name are not used as addresses.
func TestEndpointOf(t *testing.T) {
	for said, want := range map[string]string{
		"":                       "it has no address",
		"0.0.0.0":                "it leads to 0.0.0.0, which is not the address of a host: a resolver may block the name",
		"255.255.255.255":        "it leads to 255.255.255.255, which is not the address of a host: a resolver may block the name",
		":: 0.0.0.0":             "it leads to ::, which is not the address of a host: a resolver may block the name",
		"192.0.2.1":              "[192.0.2.1:9]",
		"127.0.0.1":              "[127.0.0.1:9]", // a program on this host that passes packets on
		":: 192.0.2.1 224.0.0.1": "[192.0.2.1:9]",
		"2001:db8::1 192.0.2.1":  "[[2001:db8::1]:9 192.0.2.1:9]",
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(said) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		e := endpointOf(addrs, 9)
		got := fmt.Sprint(e.All())
		if e.Err != nil {
			got = e.Err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

// TestOnlyInside: where all resolvers are INSIDE, the tunnel needs itself.
func TestOnlyInside(t *testing.T) {
	view := &tunnel.View{Tunnel: "wg0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}
	for list, want := range map[string]string{
		"": "", "10.9.0.1": "10.9.0.1", "10.9.0.1 10.9.0.3": "10.9.0.1", "10.9.0.1 192.0.2.53": "",
	} {
		var resolvers []netip.Addr
		for word := range strings.FieldsSeq(list) {
			resolvers = append(resolvers, netip.MustParseAddr(word))
		}
		got := onlyInside(view, resolvers)
		if got.IsValid() != (want != "") || want != "" && got.String() != want {
			t.Errorf("%q: %s, want %q", list, got, want)
		}
	}
	l := &lookup{inside: netip.MustParseAddr("10.9.0.1"), time: time.Second}
	e := l.one(t.Context(), "no-such-host.invalid:51820")
	if e.Err == nil || !strings.Contains(e.Err.Error(), "the only resolver, 10.9.0.1, is INSIDE") {
		t.Errorf("the error is %v", e.Err)
	}
}

// TestWhyNothingIsFound: a name that nobody has is told from one for which no resolver
// answers, in words.
func TestWhyNothingIsFound(t *testing.T) {
	for want, err := range map[string]error{
		"no such host":      &net.DNSError{Err: "no such host", IsNotFound: true},
		"no answer in time": &net.DNSError{Err: "i/o timeout", IsTimeout: true},
		"no resolver answers: connection refused": &net.DNSError{Err: "read udp 192.0.2.2:40->192.0.2.1:53: read: connection refused"},
		"server misbehaving":                      &net.DNSError{Err: "server misbehaving", IsTemporary: true},
	} {
		if got := plainly(err).Error(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	// Nothing listens at port 53 of this address, and the system has nothing of the name.
	o := &outside{servers: []netip.Addr{netip.MustParseAddr("127.77.0.53")}}
	if addrs, err := o.instead(t.Context(), "nobody.example.net"); err == nil || !strings.HasPrefix(err.Error(), "no ") ||
		strings.Contains(err.Error(), "udp") {
		t.Errorf("%v, %v", addrs, err)
	}
	text, _ := os.ReadFile(resolvConf)
	err := withoutResolver(errors.New("no such host"))
	if named := len(nameservers(string(text))) > 0; strings.Contains(err.Error(), "names no resolver") == named {
		t.Errorf("%s names a resolver: %t; the error is %v", resolvConf, named, err)
	}
}
