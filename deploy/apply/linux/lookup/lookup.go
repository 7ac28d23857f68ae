// Package lookup finds where the endpoints of peers that are names lead to: it asks the
// system, and the resolvers of the uplinks where the system's answers may have to come
// through the tunnel itself.
package lookup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
)

// Names are looked up at most so long, all together: one that does not resolve is
// its peer's trouble, not the tunnel's.
const lookupTime = 5 * time.Second

// The process that follows names has nobody waiting for it.
const followTime = 2 * lookupTime

// slow is how long the system alone is asked. It asks one resolver after the other, and
// by default waits 5 s for the first (resolv.conf(5), timeout): as long as there is.
const slow = 2 * time.Second

// lookupsAtOnce is a bound of processes. It is wide: names that get no answer must
// not keep the others from being asked within the time.
const lookupsAtOnce = 400

// A lookup finds the addresses of endpoints that are names.
type lookup struct {
	outside outside
	time    time.Duration // for all names together
}

// Patiently looks up names of endpoints for the process that follows them, which nobody
// waits for. The tunnel is up.
func Patiently(ctx context.Context, s *apply.State, view *tunnel.View, entries journal.Entries,
	names []string) map[string]apply.Endpoint {
	l := newLookup(ctx, s, resolversOf(view, entries))
	l.time = followTime
	return l.all(ctx, names)
}

// newLookup returns a lookup for a tunnel that has these resolvers of its own.
//
// Where it has any, or takes all packets, the system's answers may have to come
// through the very tunnel that is to be brought up. So the resolvers of the uplinks
// are asked besides, with the mark that its encrypted packets have: they go where
// those go. Elsewhere they are the system's own, and asked all at once when it is slow.
func newLookup(ctx context.Context, s *apply.State, own []netip.Addr) *lookup {
	l := &lookup{outside: outside{servers: outsideResolvers(ctx, s, own), mark: s.Device.FwMark}, time: lookupTime}
	if own == nil && s.Device.FwMark == 0 {
		l.outside.after = slow
	}
	return l
}

// all looks up many at once.
func (l *lookup) all(ctx context.Context, endpoints []string) map[string]apply.Endpoint {
	ctx, cancel := context.WithTimeout(ctx, l.time)
	defer cancel()
	found := make(map[string]apply.Endpoint, len(endpoints))
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(lookupsAtOnce)
	for _, name := range endpoints {
		group.Go(func() error {
			e := l.one(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			found[name] = e
			return nil
		})
	}
	group.Wait()
	return found
}

// one looks up name:port, or several of them in their order. It takes one that leads
// somewhere for all to be known.
func (l *lookup) one(ctx context.Context, endpoint string) apply.Endpoint {
	var all apply.Endpoint
	var found []netip.AddrPort
	for part := range strings.SplitSeq(endpoint, ",") {
		e := l.part(ctx, part)
		for _, a := range e.All() {
			if !slices.Contains(found, a) {
				found = append(found, a)
			}
		}
		all.Err = cmp.Or(all.Err, e.Err)
	}
	if len(found) == 0 {
		return all
	}
	return apply.Endpoint{Addr: found[0], More: found[1:]}
}

// part looks up one of them.
func (l *lookup) part(ctx context.Context, endpoint string) apply.Endpoint {
	if addr, err := netip.ParseAddrPort(endpoint); err == nil {
		return apply.Endpoint{Addr: addr}
	}
	host, text, err := net.SplitHostPort(endpoint)
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	addrs, err := l.addresses(ctx, host)
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	return endpointOf(addrs, uint16(port))
}

// endpointOf leaves out what nobody can be reached at.
func endpointOf(addrs []netip.Addr, port uint16) apply.Endpoint {
	var all []netip.AddrPort
	for _, a := range addrs {
		if !isNobodys(a) {
			all = append(all, netip.AddrPortFrom(a, port))
		}
	}
	switch {
	case len(addrs) == 0:
		return apply.Endpoint{Err: errors.New("it has no address")}
	case len(all) == 0:
		return apply.Endpoint{Err: fmt.Errorf("it leads to %s, which is no host's address: a resolver may block the name",
			addrs[0])}
	}
	return apply.Endpoint{Addr: all[0], More: all[1:]}
}

// isNobodys reports whether no host has an address. A resolver that blocks a name says
// 0.0.0.0 or ::, and that would be sent to this host itself.
func isNobodys(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// addresses asks the system, and the resolvers of the uplinks where there is a
// reason to. Their answer is the better one then: the tunnel's own resolver may
// answer with addresses INSIDE. The system's is taken where theirs does not come
// soon after it.
func (l *lookup) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if len(l.outside.servers) == 0 {
		return bySystem(ctx, host)
	}
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	system, outside := make(chan answer, 1), make(chan answer, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { addrs, err := bySystem(ctx, host); system <- answer{addrs, err} }()
	go func() { addrs, err := l.outside.ask(ctx, host); outside <- answer{addrs, err} }()
	const grace = time.Second
	var patience <-chan time.Time
	var fromSystem *answer // by the system
	for {
		select {
		case a := <-outside:
			switch {
			case a.err == nil:
				return a.addrs, nil
			case fromSystem != nil:
				return fromSystem.addrs, fromSystem.err
			}
			outside = nil
		case a := <-system:
			if outside == nil || l.outside.after > 0 {
				return a.addrs, a.err
			}
			if fromSystem, system = &a, nil; a.err == nil {
				patience = time.After(grace)
			}
		case <-patience:
			return fromSystem.addrs, nil
		}
	}
}
