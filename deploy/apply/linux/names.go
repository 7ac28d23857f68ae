package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
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

// resolve looks up the endpoints that are names, where the journal does not say
// that the name was set already, or no handshake comes from where it led then.
func (k *Kernel) resolve(ctx context.Context, view *tunnel.View, s *apply.State, entries journal.Entries) {
	s.Endpoints = map[string]apply.Endpoint{}
	var live map[keyring.PublicKey]*apply.Peer // made where there is a name
	now := time.Now()
	var names []string
	for i := range view.Peers {
		p := &view.Peers[i]
		if !IsName(p.Endpoint) {
			continue
		}
		if live == nil {
			live = peersByKey(s)
		}
		have := live[p.PublicKey]
		set := have != nil && have.Endpoint.IsValid() && entries.Peer(p.PublicKey).Set == p.Endpoint
		if _, asked := s.Endpoints[p.Endpoint]; !asked && (!set || have.Overdue(now)) {
			s.Endpoints[p.Endpoint] = apply.Endpoint{}
			names = append(names, p.Endpoint)
		}
	}
	if names == nil {
		return
	}
	// One command may look twice at what there is, and is to wait once.
	const fresh = 10 * time.Second
	if now.Sub(k.lookedUp) > fresh || !containsAll(k.found, names) {
		k.found, k.lookedUp = NewLookup(ctx, s, resolversOf(view, entries)).All(ctx, names), time.Now()
	}
	for _, name := range names {
		s.Endpoints[name] = k.found[name]
	}
}

func containsAll(found map[string]apply.Endpoint, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := found[name]; return !ok })
}

func peersByKey(s *apply.State) map[keyring.PublicKey]*apply.Peer {
	live := make(map[keyring.PublicKey]*apply.Peer, len(s.Peers))
	for i := range s.Peers {
		live[s.Peers[i].PublicKey] = &s.Peers[i]
	}
	return live
}

// IsName reports whether an endpoint has to be looked up.
func IsName(endpoint string) bool {
	// Four numbers are no name, whose last label has a letter (RFC 3696, 2): ten
	// thousand addresses need not be parsed once more.
	dots, others := 0, 0
	for i := range len(endpoint) {
		switch c := endpoint[i]; {
		case c == '.':
			dots++
		case c != ':' && (c < '0' || c > '9'):
			others++
		}
	}
	if dots == 3 && others == 0 {
		return false
	}
	_, err := netip.ParseAddrPort(endpoint)
	return endpoint != "" && err != nil
}

// A Lookup finds the addresses of endpoints that are names.
type Lookup struct {
	outside []netip.Addr  // resolvers to be asked besides the system
	after   time.Duration // when it has not answered by then
	mark    uint32        // of what is sent to them
	time    time.Duration // for all names together
}

// NewLookup returns a Lookup for a tunnel that has these resolvers of its own.
//
// Where it has any, or takes all packets, the system's answers may have to come
// through the very tunnel that is to be brought up. So the resolvers of the uplinks
// are asked besides, with the mark that its encrypted packets have: they go where
// those go. Elsewhere they are the system's own, and asked all at once when it is slow.
func NewLookup(ctx context.Context, s *apply.State, own []netip.Addr) *Lookup {
	l := &Lookup{mark: s.Device.FwMark, outside: outsideResolvers(ctx, s, own), time: lookupTime}
	if own == nil && l.mark == 0 {
		l.after = slow
	}
	return l
}

// All looks up many at once.
func (l *Lookup) All(ctx context.Context, endpoints []string) map[string]apply.Endpoint {
	ctx, cancel := context.WithTimeout(ctx, l.time)
	defer cancel()
	found := make(map[string]apply.Endpoint, len(endpoints))
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(lookupsAtOnce)
	for _, name := range endpoints {
		all.Go(func() error {
			e := l.one(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			found[name] = e
			return nil
		})
	}
	all.Wait()
	return found
}

// one looks up name:port.
func (l *Lookup) one(ctx context.Context, endpoint string) apply.Endpoint {
	host, text, err := net.SplitHostPort(endpoint)
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	addrs, err := l.addresses(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	if err != nil {
		return apply.Endpoint{Err: err}
	}
	var e apply.Endpoint
	for _, a := range addrs {
		e.More = append(e.More, netip.AddrPortFrom(a, uint16(port)))
	}
	e.Addr, e.More = e.More[0], e.More[1:]
	return e
}

// addresses asks the system, and the resolvers of the uplinks where there is a
// reason to. Their answer is the better one then: the tunnel's own resolver may
// answer with addresses INSIDE. The system's is taken where theirs does not come
// soon after it.
func (l *Lookup) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if len(l.outside) == 0 {
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
	go func() { addrs, err := l.byOthers(ctx, host); outside <- answer{addrs, err} }()
	const grace = time.Second
	var patience <-chan time.Time
	var told *answer // by the system
	for {
		select {
		case a := <-outside:
			switch {
			case a.err == nil:
				return a.addrs, nil
			case told != nil:
				return told.addrs, told.err
			}
			outside = nil
		case a := <-system:
			if outside == nil || l.after > 0 {
				return a.addrs, a.err
			}
			if told, system = &a, nil; a.err == nil {
				patience = time.After(grace)
			}
		case <-patience:
			return told.addrs, nil
		}
	}
}

// bySystem looks a name up as every other program on the host does, in the order of
// nsswitch.conf(5) and with all its modules. This program is linked without the C
// library, so it is getent(1) that asks it. Where there is none, or one without
// ahosts, Go's own resolver knows files and the DNS.
func bySystem(ctx context.Context, host string) ([]netip.Addr, error) {
	cmd := exec.CommandContext(ctx, "getent", "ahosts", host)
	cmd.WaitDelay = 100 * time.Millisecond
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return addressesIn(out), nil
	case ctx.Err() != nil:
		return nil, errors.New("no answer in time")
	case errors.As(err, &exit) && exit.ExitCode() == 2: // not found
		return nil, errors.New("no such host")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, plainly(err)
	}
	return unmapped(addrs), nil
}

// addressesIn reads the first word of each line; each address is there once for
// each type of socket.
func addressesIn(lines []byte) []netip.Addr {
	var addrs []netip.Addr
	for line := range bytes.Lines(lines) {
		if word, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); word != "" {
			if a, err := netip.ParseAddr(word); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	return unmapped(addrs)
}

// unmapped returns each address once, and IPv4 as such.
func unmapped(addrs []netip.Addr) []netip.Addr {
	var once []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap(); !seen[a] {
			seen[a] = true
			once = append(once, a)
		}
	}
	return once
}

// plainly leaves the name out of a resolver's error, which is told with it.
func plainly(err error) error {
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return err
	case dns.IsNotFound:
		return errors.New("no such host")
	case dns.IsTimeout:
		return errors.New("no answer in time")
	}
	return fmt.Errorf("%s", dns.Err)
}
