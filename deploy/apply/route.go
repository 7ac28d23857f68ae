package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"wgkeys/deploy/apply/journal"
)

// A Route is an INSIDE prefix and how it is reached through the link.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr // the zero value: none
	Metric  int        // 0: the kernel's default
	Table   int        // 0: main
}

// key is what the kernel tells routes apart by.
func (r Route) key() Route { r.Gateway = netip.Addr{}; return r }

func (r Route) resource() journal.Resource {
	return journal.Route.Of(fmt.Sprintf("%s %d %d", r.Prefix, r.Metric, r.Table))
}

func (r Route) family() string {
	if r.Prefix.Addr().Is4() {
		return "-4"
	}
	return "-6"
}

// normalMetric spells the kernel's default metric as 0 (IP6_RT_PRIO_USER).
func normalMetric(prefix netip.Prefix, metric int) int {
	if !prefix.Addr().Is4() && metric == 1024 {
		return 0
	}
	return metric
}

const mainTable = 254 // RT_TABLE_MAIN

// normalTable spells the main table as 0 (RT_TABLE_MAIN).
func normalTable(table int) int {
	if table == mainTable {
		return 0
	}
	return table
}

// metricOf is the kernel's number for it (IP6_RT_PRIO_USER).
func metricOf(r Route) int {
	if r.Metric == 0 && !r.Prefix.Addr().Is4() {
		return 1024
	}
	return r.Metric
}

// sortForGateways returns the routes without a gateway first: one with a gateway
// is accepted only where the gateway is reached already. They go the other way
// round, so that going can be undone.
func sortForGateways[R any](routes []R, gateway func(R) netip.Addr) []R {
	if !slices.ContainsFunc(routes, func(r R) bool { return gateway(r).IsValid() }) {
		return routes // ten thousand, as a rule
	}
	sorted := slices.Clone(routes)
	slices.SortStableFunc(sorted, func(a, b R) int {
		switch av, bv := gateway(a).IsValid(), gateway(b).IsValid(); {
		case av == bv:
			return 0
		case bv:
			return -1
		}
		return 1
	})
	return sorted
}

// A RouteChange adds (Old nil), replaces or removes (New nil) a route through
// the link. A route is replaced, at once, by one of the same prefix, metric and
// table.
type RouteChange struct {
	Link     string
	Old, New *Route
}

func (c RouteChange) Resource() journal.Resource { return c.any().resource() }

func (c RouteChange) Inverse() []Change { return []Change{RouteChange{c.Link, c.New, c.Old}} }

func (c RouteChange) any() *Route {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

func (c RouteChange) String() string {
	do, r := "add", c.any()
	switch {
	case c.New == nil:
		do = "del"
	case c.Old != nil:
		do = "replace"
	}
	s := fmt.Sprintf("ip %s route %s %s", r.family(), do, r.Prefix)
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	s += " dev " + c.Link
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.Table != 0 {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

func (c RouteChange) entries(_ journal.Entries) []line {
	if c.New != nil {
		return made(c)
	}
	return nil
}

func (c RouteChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (RouteChange) trusted() bool       { return false }
func (RouteChange) traits() traits      { return traits{batched: true, steers: true} }
func (RouteChange) TouchesKernel() bool { return true }
