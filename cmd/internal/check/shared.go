package check

import "wgkeys/deploy/tunnel"

// shared finds settings of a host that two of its tunnels need and only one can have.
func (c *checker) shared() {
	for _, clash := range tunnel.Shared(c.parsed) {
		c.fault(Finding{Check: "shared", Tunnel: clash.Tunnel, Host: clash.Host}, clash.Fault)
	}
}
