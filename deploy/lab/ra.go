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

// An Advertisement is a router advertisement (RFC 4861, section 4.2).
type Advertisement struct {
	Lifetime   time.Duration // as a default router; 0: it is not one
	Prefix     netip.Prefix  // the zero Prefix: no prefix information option
	OnLink     bool          // the L flag: Prefix is on-link
	Autonomous bool          // the A flag: hosts configure addresses in Prefix (SLAAC)
}

// advertiseEvery is shorter than the least interval of RFC 4861 (section 6.2.1), so that
// tests do not have to wait.
const advertiseEvery = time.Second

// Advertise sends router advertisements on an interface of the host, at once, every second
// and in answer to each solicitation, until stop is called or the host ends. It does not
// send a final advertisement with lifetime 0, as a router that crashes would not.
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

// encode returns the ICMPv6 message. The kernel fills in the checksum (RFC 3542, section
// 3.1).
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

// A raSocket is a raw ICMPv6 socket that is bound to one interface.
type raSocket struct {
	fd    int
	index int
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// serve sends msg until stopped is closed. If the interface is down, or has no link-local
// address yet, it tries again a moment later.
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

// solicited waits up to 50 ms for a solicitation, the only message that the socket's filter
// accepts.
func (s raSocket) solicited() bool {
	ready := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 50); n < 1 || err != nil {
		return false
	}
	n, _, err := unix.Recvfrom(s.fd, make([]byte, 1500), unix.MSG_DONTWAIT)
	return n > 0 && err == nil
}

// openRASocket opens a socket in the host's network namespace. A socket stays in the
// namespace in which it was made, so only that needs a thread there.
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
	// Hosts drop messages that did not come from the link itself, which a hop limit of 255
	// proves (RFC 4861, section 6.1.2).
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
