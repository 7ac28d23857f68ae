package apply

import (
	"cmp"
	"strings"
)

// What the journal says of a change, and when it may forget it, each kind of change knows
// by itself: see [Change].

// made is the entry of a thing that was not there before.
func made(c Change) []line { return []line{{c.Resource(), Entry{Set: "made"}}} }

func (c LinkChange) entries(journal Entries) []line {
	if c.Old == nil && c.New != nil {
		return append(sideEffectLines(c.SideEffects, journal), made(c)...)
	}
	return nil
}

func (c LinkChange) restores(_ Entry, _ Entries) bool { return c.New == nil }
func (LinkChange) trusted() bool                      { return false }
func (LinkChange) batched() bool                      { return false }
func (LinkChange) TouchesKernel() bool                { return true }

func (DeviceChange) entries(_ Entries) []line         { return nil }
func (DeviceChange) restores(_ Entry, _ Entries) bool { return true }
func (DeviceChange) trusted() bool                    { return false }
func (DeviceChange) batched() bool                    { return false }
func (DeviceChange) TouchesKernel() bool              { return true }

func (c PeerChange) entries(journal Entries) []line {
	stranger := c.Old != nil && c.Name == "" && !has(journal, c.Resource())
	if c.New == nil || stranger {
		return nil
	}
	return []line{{c.Resource(), Entry{Set: cmp.Or(c.New.Configured, unsure)}}}
}

func (c PeerChange) restores(_ Entry, _ Entries) bool { return c.New == nil }

// trusted: one that moves keeps the name that is written there already, and a peer that
// nobody answers for may move all day.
func (c PeerChange) trusted() bool {
	return c.New != nil && c.New.Endpoint.IsValid() && !movedOnly(c)
}

func (PeerChange) batched() bool       { return true }
func (PeerChange) TouchesKernel() bool { return true }

func (c AddressChange) entries(_ Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c AddressChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (AddressChange) trusted() bool                      { return false }
func (AddressChange) batched() bool                      { return true }
func (AddressChange) TouchesKernel() bool                { return true }

func (c RouteChange) entries(_ Entries) []line {
	if c.New != nil {
		return made(c)
	}
	return nil
}

func (c RouteChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (RouteChange) trusted() bool                      { return false }
func (RouteChange) batched() bool                      { return true }
func (RouteChange) TouchesKernel() bool                { return true }

func (c ProxyChange) entries(_ Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c ProxyChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (ProxyChange) trusted() bool                      { return false }
func (ProxyChange) batched() bool                      { return true }
func (ProxyChange) TouchesKernel() bool                { return true }

func (c RuleChange) entries(_ Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c RuleChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (RuleChange) trusted() bool                      { return false }
func (RuleChange) batched() bool                      { return true }
func (RuleChange) TouchesKernel() bool                { return true }

func (c UnreachableChange) entries(_ Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c UnreachableChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (UnreachableChange) trusted() bool                      { return false }
func (UnreachableChange) batched() bool                      { return true }
func (UnreachableChange) TouchesKernel() bool                { return true }

func (c FilterChange) entries(_ Entries) []line {
	if c.New != nil {
		return []line{{c.Resource(), Entry{Set: c.New.String()}}}
	}
	return nil
}

func (c FilterChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (FilterChange) trusted() bool                      { return true }
func (FilterChange) batched() bool                      { return false }
func (FilterChange) TouchesKernel() bool                { return true }

func (c DNSChange) entries(_ Entries) []line {
	if c.New != nil {
		return []line{{c.Resource(), Entry{Set: strings.Join(c.New, " ")}}}
	}
	return nil
}

func (c DNSChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (DNSChange) trusted() bool                      { return true }
func (DNSChange) batched() bool                      { return false }
func (DNSChange) TouchesKernel() bool                { return true }

func (c ManagerChange) entries(_ Entries) []line {
	if c.Add {
		return []line{{c.Resource(), Entry{Set: c.File}}}
	}
	return nil
}

func (c ManagerChange) restores(_ Entry, _ Entries) bool { return len(c.entries(nil)) == 0 }
func (ManagerChange) trusted() bool                      { return false }
func (ManagerChange) batched() bool                      { return false }
func (ManagerChange) TouchesKernel() bool                { return true }

func (ThreadsChange) entries(_ Entries) []line         { return nil }
func (ThreadsChange) restores(_ Entry, _ Entries) bool { return true }
func (ThreadsChange) trusted() bool                    { return false }
func (ThreadsChange) batched() bool                    { return false }
func (ThreadsChange) TouchesKernel() bool              { return true }

func (c SysctlChange) entries(journal Entries) []line {
	lines := sideEffectLines(c.SideEffects, journal)
	if c.Old == "" {
		return lines
	}
	return append(lines, first(journal, c.Resource(), Entry{cmp.Or(c.Was, c.Old), c.New}))
}

// restores: a parameter that is a side effect of another one of the journal has to be put back
// once more after that one.
func (c SysctlChange) restores(e Entry, journal Entries) bool {
	return c.New == e.Was && !has(journal, "sysctl "+driver(c.Key))
}
func (SysctlChange) trusted() bool       { return false }
func (SysctlChange) batched() bool       { return false }
func (SysctlChange) TouchesKernel() bool { return true }

func (c ShareChange) entries(_ Entries) []line       { return []line{{c.Resource(), Entry{c.Was, c.Set}}} }
func (ShareChange) restores(_ Entry, _ Entries) bool { return false }
func (ShareChange) trusted() bool                    { return false }
func (ShareChange) batched() bool                    { return false }
func (ShareChange) TouchesKernel() bool              { return false }

func (ReleaseChange) entries(_ Entries) []line         { return nil }
func (ReleaseChange) restores(_ Entry, _ Entries) bool { return true }
func (ReleaseChange) trusted() bool                    { return false }
func (ReleaseChange) batched() bool                    { return false }
func (ReleaseChange) TouchesKernel() bool              { return false }
