package apply_test

import (
	"testing"

	"wgkeys/deploy/apply"
)

// FuzzFilter: a packet filter in a journal is the one that wrote the text, or none.
func FuzzFilter(f *testing.F) {
	f.Add("wg0", "ip saddr 10.0.0.0/24 oifname eth0,eth1 masquerade; ip6 daddr fd00::1 iifname != wg0,wg1 fib saddr type != local drop")
	f.Add("wg0", "ip saddr != 10.0.0.1,10.0.0.2 oifname wg0 iifname != wg0 masquerade")
	f.Add("wg0", "meta mark 0x1/0xff for ip,ip6 by uplinks and the answers; ct label 103 for those that are forwarded")
	f.Add("wg0", "udp dport 53 goes to 51820 where that is open")
	f.Fuzz(func(t *testing.T, link, text string) {
		filter := apply.ParseFilter(link, text)
		if filter == nil {
			return
		}
		if filter.String() != text {
			t.Errorf("%q is read as %q", text, filter)
		}
		if again := apply.ParseFilter(link, filter.String()); again == nil || again.Rules() != filter.Rules() {
			t.Errorf("%q has other rules when it is read again", text)
		}
	})
}
