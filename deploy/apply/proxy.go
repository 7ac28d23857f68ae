package apply

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Proxy is a proxy neighbour: the host answers for Addr on Link.
type Proxy struct {
	Link string
	Addr netip.Addr
}

func (p Proxy) String() string { return p.Addr.String() + " " + p.Link }

// ParseProxy reads a proxy neighbour's name in the journal.
func ParseProxy(resource string) (Proxy, bool) {
	f := strings.Fields(resource)
	if len(f) != 3 || f[0] != "proxy" {
		return Proxy{}, false
	}
	addr, err := netip.ParseAddr(f[1])
	return Proxy{f[2], addr}, err == nil
}

// A ProxyChange adds or removes a proxy neighbour.
type ProxyChange struct {
	Proxy Proxy
	Add   bool
}

func (c ProxyChange) Resource() string { return "proxy " + c.Proxy.String() }

func (c ProxyChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }

func (c ProxyChange) String() string {
	return fmt.Sprintf("ip -6 neigh %s proxy %s dev %s", verb(c.Add), c.Proxy.Addr, c.Proxy.Link)
}

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
