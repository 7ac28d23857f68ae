package lookup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An outside is the resolvers that are asked besides the system.
type outside struct {
	servers []netip.Addr
	after   time.Duration // when the system has not answered by then
	mark    uint32        // of what is sent to them
}

// ask asks them when it is time.
func (o *outside) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	select {
	case <-time.After(o.after):
		return o.all(ctx, host)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// all asks all of them at once and takes the first answer.
func (o *outside) all(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		addrs []netip.Addr
		err   error
	}
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

// one asks one resolver, again where a packet may have been lost.
func (o *outside) one(ctx context.Context, server netip.Addr, host string) (addrs []netip.Addr, err error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Control: o.markSocket}
		return d.DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
	}}
	const once = 1500 * time.Millisecond
	for range 3 {
		try, cancel := context.WithTimeout(ctx, once)
		addrs, err = r.LookupNetIP(try, "ip", host)
		cancel()
		var dns *net.DNSError
		if err == nil || !errors.As(err, &dns) || !dns.IsTimeout || ctx.Err() != nil {
			break
		}
	}
	return unmapped(addrs), err
}

// markSocket gives what is sent the mark of the tunnel's encrypted packets
// (SO_MARK, socket(7)).
func (o *outside) markSocket(_, _ string, c syscall.RawConn) (err error) {
	if o.mark == 0 {
		return nil
	}
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(o.mark))
	})
	return errors.Join(failed, err)
}
