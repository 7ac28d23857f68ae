package lab

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"wgkeys/keyring/fault"
)

// An Advertisement is what a router tells its link (RFC 4861, section 4.2).
type Advertisement struct {
	Lifetime   time.Duration // as a default router; 0: it is none
	Prefix     netip.Prefix  // the zero Prefix: none
	OnLink     bool          // neighbours of Prefix are reached directly
	Autonomous bool          // hosts make themselves addresses of Prefix
}

// advertiseEvery is the shortest period that RFC 4861 (section 6.2.1) could
// take for a link of impatient hosts.
const advertiseEvery = time.Second

// Advertise sends router advertisements on an interface of the host's, at once,
// every second and in answer to each solicitation, until stop is called or the
// host ends. Nothing is said when it stops: the router is gone, not retired.
func (h *Host) Advertise(ifname string, ra Advertisement) (stop func(), err error) {
	s, err := h.openRASocket(ifname)
	if err != nil {
		return nil, fault.WrapHost(err, "cannot send router advertisements on host", h.name, "")
	}
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ra.encode(), stopped)
	}()
	stop = sync.OnceFunc(func() {
		close(stopped)
		<-done
		unix.Close(s.fd)
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop = append(h.stop, stop)
	return stop, nil
}

// encode spells the message. The kernel fills in the checksum (RFC 3542,
// section 3.1).
func (ra Advertisement) encode() []byte {
	msg := make([]byte, 16, 48)
	msg[0] = 134 // type: router advertisement
	msg[4] = 64  // the hop limit for the hosts to use
	binary.BigEndian.PutUint16(msg[6:], uint16(min(ra.Lifetime/time.Second, math.MaxUint16)))
	if !ra.Prefix.IsValid() {
		return msg
	}
	option := make([]byte, 32) // RFC 4861, section 4.6.2
	option[0], option[1] = 3, 4
	option[2] = byte(ra.Prefix.Bits())
	if ra.OnLink {
		option[3] |= 0x80
	}
	if ra.Autonomous {
		option[3] |= 0x40
	}
	binary.BigEndian.PutUint32(option[4:], 86400) // valid lifetime
	binary.BigEndian.PutUint32(option[8:], 14400) // preferred lifetime
	prefix := ra.Prefix.Masked().Addr().As16()
	copy(option[16:], prefix[:])
	return append(msg, option...)
}

// A raSocket is a raw ICMPv6 socket bound to one interface.
type raSocket struct {
	fd    int
	index int
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// serve sends msg until stopped is closed. That the interface is down, or has
// no link-local address yet, is no reason to give up: the next attempt, a
// moment later, may be better.
func (s raSocket) serve(msg []byte, stopped <-chan struct{}) {
	to := &unix.SockaddrInet6{Addr: allNodes.As16(), ZoneId: uint32(s.index)}
	var next time.Time
	for {
		select {
		case <-stopped:
			return
		default:
		}
		if s.solicited() || !time.Now().Before(next) {
			next = time.Now().Add(advertiseEvery)
			if unix.Sendto(s.fd, msg, 0, to) != nil {
				next = time.Time{}
			}
		}
	}
}

// solicited waits a moment for a solicitation. The socket's filter lets no
// other message in.
func (s raSocket) solicited() bool {
	ready := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 50); n < 1 || err != nil {
		return false
	}
	n, _, err := unix.Recvfrom(s.fd, make([]byte, 1500), unix.MSG_DONTWAIT)
	return n > 0 && err == nil
}

// openRASocket opens a socket in the host's network namespace. A socket stays
// in the namespace it was made in, so only the making needs a thread there.
func (h *Host) openRASocket(ifname string) (s raSocket, err error) {
	inErr := h.enter(unix.CLONE_NEWNET, func() {
		s.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return
		}
		if s.index, err = s.configure(ifname); err != nil {
			unix.Close(s.fd)
		}
	})
	if inErr != nil {
		return s, inErr
	}
	return s, err
}

func (s raSocket) configure(ifname string) (index int, err error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return 0, err
	}
	// Hosts drop what has not come from the link itself, which a hop limit of
	// 255 proves (RFC 4861, section 6.1.2).
	for _, o := range []struct{ option, value int }{
		{unix.IPV6_MULTICAST_HOPS, 255},
		{unix.IPV6_UNICAST_HOPS, 255},
		{unix.IPV6_MULTICAST_IF, ifi.Index},
		{unix.IPV6_MULTICAST_LOOP, 0},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, o.option, o.value); err != nil {
			return 0, err
		}
	}
	if err := unix.BindToDevice(s.fd, ifname); err != nil {
		return 0, err
	}
	// RFC 3542, section 3.2: a set bit blocks its type. 133: solicitation.
	filter := unix.ICMPv6Filter{}
	for i := range filter.Data {
		filter.Data[i] = math.MaxUint32
	}
	filter.Data[133/32] &^= 1 << (133 % 32)
	if err := unix.SetsockoptICMPv6Filter(s.fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
		return 0, err
	}
	routers := &unix.IPv6Mreq{Multiaddr: allRouters.As16(), Interface: uint32(ifi.Index)}
	return ifi.Index, unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, routers)
}
