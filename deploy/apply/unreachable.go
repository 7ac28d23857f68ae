package apply

import (
	"fmt"
	"math"
	"net/netip"

	"wgkeys/deploy/apply/journal"
)

// An Unreachable is a route that leads nowhere, behind a route of the tunnel in its
// own table: when the interface or the device in user space is gone, and its routes
// with it, what was to go through the tunnel is refused instead of leaving in the
// clear.
type Unreachable struct {
	Prefix netip.Prefix
	Table  int
}

// UnreachableMetric is larger than that of any route of the tunnel. The netlink library has an
// int for a metric, which has fewer bits on a processor of 32.
const UnreachableMetric = (1<<32 - 2) & math.MaxInt

// An UnreachableChange adds or removes an [Unreachable].
type UnreachableChange struct {
	Route Unreachable
	Add   bool
}

func (c UnreachableChange) Resource() journal.Resource {
	return journal.Unreachable.Of(fmt.Sprintf("%s %d", c.Route.Prefix, c.Route.Table))
}
func (c UnreachableChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }
func (c UnreachableChange) String() string {
	return fmt.Sprintf("ip %s route %s unreachable %s metric %d table %d", Route{Prefix: c.Route.Prefix}.family(),
		verb(c.Add),
		c.Route.Prefix, UnreachableMetric, c.Route.Table)
}

func (c UnreachableChange) entries(_ journal.Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c UnreachableChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (UnreachableChange) trusted() bool       { return false }
func (UnreachableChange) traits() traits      { return traits{batched: true, steers: true} }
func (UnreachableChange) TouchesKernel() bool { return true }
