package check

import (
	"maps"
	"slices"

	"wgkeys/deploy/tunnel"
)

// shared finds settings of a host that two of its tunnels need and only one can have.
func (c *checker) shared() {
	for _, t := range c.parsed {
		same := tunnel.SameKeyFile(t)
		for _, host := range slices.Sorted(maps.Keys(same)) {
			if same[host] < host { // once
				c.fault(Finding{Check: "shared", Tunnel: t.Name, Host: host}, tunnel.OneKeyFile(t, host, same[host]))
			}
		}
	}
	for _, clash := range tunnel.Shared(c.parsed) {
		c.fault(Finding{Check: "shared", Tunnel: clash.Tunnel, Host: clash.Host}, clash.Fault)
	}
}
