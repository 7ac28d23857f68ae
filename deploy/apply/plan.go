package apply

import (
	"net/netip"

	"wgkeys/deploy/tunnel"
)

// A Plan is the way from what the kernel has to what is wanted.
type Plan struct {
	Tunnel string
	Host   string
	Steps  []Step
	Notes  []string // what is left alone, and why

	// Findings are what keeps the tunnel from doing what its file promises and no
	// step of ours can mend, with the way out: another program's firewall, a route
	// that wins over the tunnel's. A status of the host is not clean while there are
	// any.
	Findings []string

	// Beside are the prefixes that other interfaces have routes to as well. Notes and Findings
	// tell of them.
	Beside []netip.Prefix

	// Nowhere are the default routes whose packets a finding says go nowhere.
	Nowhere []netip.Prefix

	Missing []error // what [Run] could not do, and the tunnel works without

	Known bool         // that it is empty, from an earlier one
	View  *tunnel.View // what is true after it: the one asked for, with the keys in use, see [Follow]
}
