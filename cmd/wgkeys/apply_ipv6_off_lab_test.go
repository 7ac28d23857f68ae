package main

import (
	"strings"
	"testing"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/ui"
)

// TestLabApplyIPv6OffAndOn: when IPv6 is switched off and on again under a full
// tunnel, the kernel has taken its IPv6 routes, and nothing leaves in the clear. Status
// and plan say so, the next apply brings them back, and down leaves nothing.
func TestLabApplyIPv6OffAndOn(t *testing.T) {
	t.Parallel()
	u := newFullUsers(t)
	origin := u.Must(u.Basalt, "ip -6 rule")
	u.Must(u.Basalt, "wgkeys apply -q shale && wgkeys apply -q")
	u.pings(u.Basalt, true, "at first", internet4, demo.Internet)
	u.Must(u.Basalt, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && sysctl -qw net.ipv6.conf.all.disable_ipv6=0")
	u.Must(u.Basalt, "ip -6 address add 2001:db8:b::2/64 dev eth0 nodad; ip -6 route replace default via 2001:db8:b::1 dev eth0 metric 100")
	u.pings(u.Basalt, false, "after IPv6 was off", demo.Internet)
	u.nothingSeen("after IPv6 was off")
	if r := u.Run(u.Basalt, "wgkeys status"); r.Code != ui.ExitFindings ||
		!strings.Contains(r.Stdout, "wgkeys plan basalt") {
		t.Errorf("status exits %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := u.Run(u.Basalt, "wgkeys plan"); !strings.Contains(r.Stdout, "ip -6 route add ::/0 dev wg0") {
		t.Errorf("plan does not name the route:\n%s%s", r.Stdout, r.Stderr)
	}
	u.Must(u.Basalt, "wgkeys apply -q")
	u.pings(u.Basalt, true, "after the next apply", internet4, demo.Internet)
	u.nothingSeen("after the next apply")
	u.Must(u.Basalt, "wgkeys down")
	if rules := u.Must(u.Basalt, "ip -6 rule"); rules != origin {
		t.Errorf("down leaves\n%s", rules)
	}
}
