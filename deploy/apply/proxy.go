package apply

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"wgkeys/deploy/apply/journal"
)

// A Proxy is a proxy neighbour: the host answers for Addr on Link.
type Proxy struct {
	Link string
	Addr netip.Addr
}

func (p Proxy) String() string { return p.Addr.String() + " " + p.Link }

// A ProxyChange adds or removes a proxy neighbour.
type ProxyChange struct {
	Proxy Proxy
	Add   bool
}

func (c ProxyChange) Resource() journal.Resource { return journal.Proxy.Of(c.Proxy.String()) }

func (c ProxyChange) Inverse() []Change { c.Add = !c.Add; return []Change{c} }

func (c ProxyChange) String() string {
	return fmt.Sprintf("ip -6 neigh %s proxy %s dev %s", verb(c.Add), c.Proxy.Addr, c.Proxy.Link)
}

func (c ProxyChange) entries(_ journal.Entries) []line {
	if c.Add {
		return made(c)
	}
	return nil
}

func (c ProxyChange) restores(_ journal.Entry, _ journal.Entries) bool {
	return len(c.entries(nil)) == 0
}
func (ProxyChange) trusted() bool       { return false }
func (ProxyChange) traits() traits      { return traits{batched: true} }
func (ProxyChange) TouchesKernel() bool { return true }

// Proxying returns the plan with those of its steps alone that have an uplink answer for INSIDE
// addresses: it has to forward for that, and a router needs more to accept advertisements. So do
// other interfaces, since whatever is made a router drops the default routes of all of them.
func (p *Plan) Proxying() *Plan {
	var links []string
	for _, s := range p.Steps {
		if c, ok := s.Change.(ProxyChange); ok && c.Add {
			links = append(links, c.Proxy.Link)
		}
	}
	only := &Plan{Tunnel: p.Tunnel, Host: p.Host, View: p.View}
	for _, s := range p.Steps {
		switch c := s.Change.(type) {
		case ProxyChange:
			if !c.Add {
				continue
			}
		case SysctlChange:
			if !isOf(c.Key, links) && (links == nil || path.Base(c.Key) != "accept_ra" || c.New != "2") {
				continue
			}
		case ShareChange: // another tunnel set it, and is not to put it back before this one
			if !isOf(c.Key, links) {
				continue
			}
		default:
			continue
		}
		only.Steps = append(only.Steps, s)
	}
	return only
}

// isOf reports whether a parameter is of one of the links alone, for IPv6.
func isOf(key string, links []string) bool {
	return slices.ContainsFunc(links, func(link string) bool { return strings.HasPrefix(key, interfaces6+link+"/") })
}
