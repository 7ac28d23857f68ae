package tunnel_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"wgkeys/deploy/tunnel"
)

// TestWeakens: a tunnel file takes no protection from the whole host, however the key is
// spelled, and sets what routes packets.
func TestWeakens(t *testing.T) {
	parse := func(line string) error {
		text := "[hosts.a]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.0.0.1/32\"]\n[hosts.b]\naddresses = " +
			"[\"10.0.0.2/32\"]\n[hosts.a.sysctls]\n" + line + "\n"
		_, err := tunnel.Parse(fstest.MapFS{"wg0.toml": {Data: []byte(text)}}, "wg0")
		return err
	}
	for _, line := range []string{
		`"net.core.bpf_jit_harden" = 0`, `"net/core/bpf_jit_enable" = 2`, `net.core.bpf_jit_kallsyms = true`,
		`"net.ipv4.conf.all.accept_source_route" = 1`, `"net.ipv6.conf.eth0.accept_source_route" = "1"`,
		`"net/ipv4/conf/eth0.7/accept_redirects" = true`,
		`"net.ipv4.conf.all.route_localnet" = 1`, `"net.ipv6.conf.all.disable_ipv6" = 1`,
		`"net.ipv6.conf.eth0.disable_ipv6" = "1"`,
		`"net.ipv4.ip_unprivileged_port_start" = 0`, `"net.ipv4.ping_group_range" = "0 100"`,
		`"net.ipv4.tcp_syncookies" = false`,
		`"net.ipv4.conf.eth0.secure_redirects" = 0`, `"net.ipv4.icmp_echo_ignore_broadcasts" = 0`,
	} {
		if err := parse(line); err == nil || !strings.Contains(err.Error(), "weakens the whole host") {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{
		`"net.ipv6.conf.wg0.disable_ipv6" = 0`, `"net.ipv4.conf.all.accept_source_route" = 0`,
		`"net.ipv6.conf.all.accept_source_route" = -1`,
		`"net.ipv4.conf.wg0.rp_filter" = 2`, `"net.core.rmem_max" = 2500000`, `"net.ipv4.tcp_syncookies" = 1`,
		`"net.ipv4.conf.all.accept_redirects" = false`,
	} {
		if err := parse(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	view := fmt.Sprintf(`{"format": %d, "sysctls": {"net.core.bpf_jit_harden": "0"}}`, tunnel.Format)
	if _, err := tunnel.ParseView([]byte(view)); err == nil || !strings.Contains(err.Error(), "weakens the whole host") {
		t.Errorf("in a view: %v", err)
	}
}
