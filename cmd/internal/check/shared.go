package check

import "wgkeys/deploy/tunnel"

// shared finds what a host wants for two of its tunnels and only one can have.
func (c *checker) shared() {
	for _, clash := range tunnel.Shared(c.parsed) {
		c.fault(Finding{Check: "shared", Tunnel: clash.Tunnel, Host: clash.Host}, clash.Fault)
	}
}
