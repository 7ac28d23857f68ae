package apply

import (
	"net/netip"
	"testing"
)

// TestProxying: what makes an uplink answer is taken with all that secures the host's default
// routes, and nothing else is.
func TestProxying(t *testing.T) {
	proxy := ProxyChange{Proxy{"eth0", netip.MustParseAddr("2001:db8::2")}, true}
	wanted := []Change{
		SysctlChange{Key: acceptRA("eth1"), Old: "1", New: "2"},
		ShareChange{Key: "net/ipv6/conf/eth0/proxy_ndp", Was: "0", Set: "1"},
		SysctlChange{Key: forwardingOf("eth0"), Old: "0", New: "1"},
		proxy,
	}
	plan := &Plan{}
	for _, c := range wanted {
		plan.Steps = append(plan.Steps, Step{Change: c})
	}
	for _, c := range []Change{
		ShareChange{Key: "net/ipv6/conf/eth1/proxy_ndp", Was: "0", Set: "1"},
		SysctlChange{Key: acceptRA("eth1"), Old: "2", New: "1"},
		SysctlChange{Key: forwardingOf("eth1"), Old: "0", New: "1"},
		ProxyChange{proxy.Proxy, false},
	} {
		plan.Steps = append(plan.Steps, Step{Change: c})
	}
	got := plan.Proxying().Steps
	if len(got) != len(wanted) {
		t.Fatalf("%d steps, want %d: %v", len(got), len(wanted), got)
	}
	for i, s := range got {
		if s.Change.String() != wanted[i].String() {
			t.Errorf("step %d is %s, want %s", i, s.Change, wanted[i])
		}
	}
	plan.Steps = plan.Steps[:3]
	if got := plan.Proxying().Steps; len(got) != 0 {
		t.Errorf("steps where no uplink is to answer: %v", got)
	}
}
