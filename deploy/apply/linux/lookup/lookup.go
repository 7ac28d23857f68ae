// Package lookup resolves the endpoints of peers that are names. It asks the system and,
// where the system's answers may have to come through the tunnel itself, the resolvers of
// the uplinks.
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

// lookupTime is the timeout for all names of a view together: a name that does not resolve
// must not delay the whole tunnel for longer.
const lookupTime = 5 * time.Second

// followTime is the timeout in the process that follows names, for which nobody waits.
const followTime = 2 * lookupTime

// slow is how long the system alone is asked. It asks one resolver after the other, and the
// default timeout of the first is 5 s (resolv.conf(5)), which is the whole of lookupTime.
const slow = 2 * time.Second

// lookupsAtOnce bounds the number of processes of getent(1). It is high, so that names that
// get no answer do not keep the others from being asked in time.
const lookupsAtOnce = 400

// A lookup resolves endpoints that are names.
type lookup struct {
	outside outside
	inside  netip.Addr    // the host's first resolver, if all are INSIDE
	time    time.Duration // for all names together
}

// Patiently resolves endpoint names for the process that follows them, for which nobody
// waits. The tunnel has to be up.
func Patiently(ctx context.Context, s *apply.State, view *tunnel.View, entries journal.Entries,
	names []string) map[string]apply.Endpoint {
	l := newLookup(ctx, s, view, resolversOf(view, entries))
	l.time = followTime
	return l.all(ctx, names)
}

// newLookup returns a lookup for a tunnel whose own resolvers are own.
//
// If the tunnel has resolvers or routes all packets, the system's queries may need the very
// tunnel that is to be brought up. So the uplinks' resolvers are asked at the same time,
// with the mark of the encrypted packets, so that the queries take the path of those.
// Otherwise the uplinks' resolvers are the system's own; they are asked, all at once, only
// when the system is slow.
func newLookup(ctx context.Context, s *apply.State, view *tunnel.View, own []netip.Addr) *lookup {
	l := &lookup{outside: outside{servers: outsideResolvers(ctx, s, own), mark: s.Device.FwMark}, time: lookupTime}
	l.inside = onlyInside(view, l.outside.servers)
	if own == nil && s.Device.FwMark == 0 {
		l.outside.after = slow
	}
	return l
}

// all resolves many endpoints at once.
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

// one resolves name:port, or a list of them separated by commas, in their order. There is
// an error only if none of them has an address.
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
		if l.inside.IsValid() && all.Err != nil {
			all.Err = fmt.Errorf("%w; the only resolver, %s, is INSIDE and needs the tunnel itself: "+
				"write the address as endpoint, or give this host a resolver OUTSIDE", all.Err, l.inside)
		}
		return all
	}
	return apply.Endpoint{Addr: found[0], More: found[1:]}
}

// part resolves one element of such a list.
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

// endpointOf returns the addresses that a host can have, or an error if there are none.
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
		return apply.Endpoint{Err: fmt.Errorf("it leads to %s, which is not the address of a host: a resolver may block the name",
			addrs[0])}
	}
	return apply.Endpoint{Addr: all[0], More: all[1:]}
}

// isNobodys reports whether no host can have the address. A resolver that blocks a name
// answers 0.0.0.0 or ::, and packets to those go to this host itself.
func isNobodys(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// addresses asks the system and, if there are any, the resolvers of the uplinks. The
// uplinks' answer is preferred, because the tunnel's own resolver may answer with INSIDE
// addresses. The system's answer is returned if theirs does not come within a second after
// it.
func (l *lookup) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if len(l.outside.servers) == 0 {
		addrs, err := bySystem(ctx, host)
		return addrs, withoutResolver(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	system := start(func() ([]netip.Addr, error) { return bySystem(ctx, host) })
	outside := start(func() ([]netip.Addr, error) { return l.outside.ask(ctx, host) })
	const grace = time.Second
	var patience <-chan time.Time
	var fromSystem *answer // its answer, once it is there
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
			switch {
			case outside == nil || l.outside.after > 0 && a.err == nil:
				return a.addrs, a.err
			case l.outside.after > 0:
				return l.outside.instead(ctx, host)
			}
			if fromSystem, system = &a, nil; a.err == nil {
				patience = time.After(grace)
			}
		case <-patience:
			return fromSystem.addrs, nil
		}
	}
}
