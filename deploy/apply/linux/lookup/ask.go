package lookup

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An outside is the set of resolvers that are asked besides the system's.
type outside struct {
	servers []netip.Addr
	after   time.Duration // how long the system is given to answer first
	mark    uint32        // the firewall mark of the queries (SO_MARK); 0: none
}

// ask waits for o.after and then asks the resolvers.
func (o *outside) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	select {
	case <-time.After(o.after):
		return o.all(ctx, host)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// all asks all resolvers at once and returns the first answer.
func (o *outside) all(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(o.servers))
	for _, server := range o.servers {
		go func() {
			addrs, err := o.one(ctx, server, host)
			answers <- answer{addrs, err}
		}()
	}
	err := errors.New("the uplinks have no resolvers")
	for range o.servers {
		a := <-answers
		if a.err == nil && len(a.addrs) > 0 {
			return a.addrs, nil
		}
		err = a.err
	}
	return nil, err
}

// instead asks the resolvers where the system has found nothing: getent(1) says the same of a
// name that nobody has and of one for which no resolver could be asked.
func (o *outside) instead(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*hesitation)
	defer cancel()
	addrs, err := o.all(ctx, host)
	if err != nil {
		return nil, plainly(err)
	}
	return addrs, nil
}

// hesitation is how long an answer is waited for before another way is tried, or without
// which a first one is taken.
const hesitation = 500 * time.Millisecond

// one asks one resolver, and asks up to twice more if it timed out. Many home routers do not
// answer queries for AAAA records at all, and a resolver that asks for both families waits for
// both: where the answer does not come soon, each family is asked for by itself as well.
func (o *outside) one(ctx context.Context, server netip.Addr, host string) (addrs []netip.Addr, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Control: o.markSocket}
		return d.DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
	}}
	both := start(func() ([]netip.Addr, error) { return tryOnce(ctx, r, "ip", host) })
	select {
	case a := <-both:
		addrs, err = a.addrs, a.err
	case <-time.After(hesitation):
		each := start(func() ([]netip.Addr, error) { return o.eachFamily(ctx, r, host) })
		addrs, err = firstOf(both, each)
	}
	for range 2 {
		if !timedOut(err) || ctx.Err() != nil {
			break
		}
		addrs, err = o.eachFamily(ctx, r, host)
	}
	return unmapped(addrs), err
}

// An answer is what a resolver says, or why it says nothing.
type answer struct {
	addrs []netip.Addr
	err   error
}

func start(ask func() ([]netip.Addr, error)) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		addrs, err := ask()
		c <- answer{addrs, err}
	}()
	return c
}

// firstOf returns the first answer with addresses, or the last one.
func firstOf(one, other <-chan answer) ([]netip.Addr, error) {
	var a answer
	select {
	case a = <-one:
		one = other
	case a = <-other:
	}
	if len(a.addrs) == 0 {
		a = <-one
	}
	return a.addrs, a.err
}

func tryOnce(ctx context.Context, r *net.Resolver, network, host string) ([]netip.Addr, error) {
	const once = 1500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, once)
	defer cancel()
	return r.LookupNetIP(ctx, network, host)
}

func timedOut(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsTimeout
}

// eachFamily asks for IPv6 and IPv4 separately, and waits a moment for the second answer if
// the first has addresses.
func (o *outside) eachFamily(ctx context.Context, r *net.Resolver, host string) ([]netip.Addr, error) {
	six := start(func() ([]netip.Addr, error) { return tryOnce(ctx, r, "ip6", host) })
	four := start(func() ([]netip.Addr, error) { return tryOnce(ctx, r, "ip4", host) })
	var a6, a4 answer
	var enough <-chan time.Time
	for six != nil || four != nil {
		select {
		case a6 = <-six:
			six = nil
		case a4 = <-four:
			four = nil
		case <-enough:
			six, four = nil, nil
		}
		if enough == nil && len(a6.addrs)+len(a4.addrs) > 0 {
			enough = time.After(hesitation)
		}
	}
	if all := append(a6.addrs, a4.addrs...); len(all) > 0 {
		return o.reachableFirst(all), nil
	}
	return nil, cmp.Or(a4.err, a6.err)
}

// reachableFirst moves addresses without a route to the end. Connecting a UDP socket sends
// nothing.
func (o *outside) reachableFirst(addrs []netip.Addr) []netip.Addr {
	var last []netip.Addr
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		c, err := (&net.Dialer{Control: o.markSocket}).Dial("udp", netip.AddrPortFrom(a, 9).String())
		if err != nil {
			last = append(last, a)
			return true
		}
		c.Close()
		return false
	})
	return append(addrs, last...)
}

// markSocket gives the queries the mark of the tunnel's encrypted packets (SO_MARK in
// socket(7)), so that they are routed as those are.
func (o *outside) markSocket(_, _ string, c syscall.RawConn) (err error) {
	if o.mark == 0 {
		return nil
	}
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(o.mark))
	})
	return errors.Join(failed, err)
}
