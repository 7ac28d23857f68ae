package wg

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring"
)

// The kernel's two long lists, peers and routes, are parsed without an allocation for each
// attribute: for ten thousand of them, the allocations took longer than the kernel's answer.

// An answer is where the description of a device goes as it is read.
type answer struct {
	keys     *keys
	state    *apply.State
	expected int // an estimate of the number of peers
}

// readDevice reads a device of the kernel (WG_CMD_GET_DEVICE in linux/wireguard.h).
func readDevice(name string, a *answer) error {
	wireguard, err := nlmsg.OpenGeneric(unix.WG_GENL_NAME)
	if err != nil {
		return err
	}
	defer wireguard.Close()
	s := a.state
	peers, err := nlmsg.Retry(func() ([]apply.Peer, error) {
		s.Device, s.Peers = apply.Device{}, make([]apply.Peer, 0, a.expected)
		err := wireguard.Ask(unix.WG_CMD_GET_DEVICE, unix.NLM_F_DUMP,
			nl.NewRtAttr(unix.WGDEVICE_A_IFNAME, nl.ZeroTerminated(name)),
			a.addDevice)
		return s.Peers, err
	})
	s.Peers = peers
	return err
}

func (a *answer) addDevice(attrs []byte) {
	s := a.state
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.WGDEVICE_A_PRIVATE_KEY:
			if private := [32]byte(value); private != [32]byte{} {
				s.Device.PublicKey = a.keys.holdPrivate(private)
			}
		case unix.WGDEVICE_A_LISTEN_PORT:
			s.Device.ListenPort = int(nlmsg.Word(value))
		case unix.WGDEVICE_A_FWMARK:
			s.Device.FwMark = uint32(nlmsg.Word(value))
		case unix.WGDEVICE_A_PEERS:
			for _, peer := range nlmsg.Attributes(value) {
				a.addPeer(peer)
			}
		}
	}
}

// addPeer adds a peer, or continues the last one, whose allowed IPs may be spread over
// several messages.
func (a *answer) addPeer(attrs []byte) {
	s := a.state
	key, ok := peerKey(attrs)
	if !ok {
		return
	}
	if n := len(s.Peers); n == 0 || s.Peers[n-1].PublicKey != key {
		s.Peers = append(s.Peers, apply.Peer{PublicKey: key})
	}
	p := &s.Peers[len(s.Peers)-1]
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.WGPEER_A_PRESHARED_KEY:
			p.PSK = a.keys.holdPSK([32]byte(value))
		case unix.WGPEER_A_ENDPOINT:
			p.Endpoint = sockaddr(value)
		case unix.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
			p.Keepalive = int(nlmsg.Word(value))
		case unix.WGPEER_A_LAST_HANDSHAKE_TIME: // struct __kernel_timespec
			p.LastHandshake = timespec(value)
		case unix.WGPEER_A_RX_BYTES:
			p.Received = int64(nlmsg.Word(value))
		case unix.WGPEER_A_TX_BYTES:
			p.Sent = int64(nlmsg.Word(value))
		case unix.WGPEER_A_ALLOWEDIPS:
			for _, allowed := range nlmsg.Attributes(value) {
				p.AllowedIPs = append(p.AllowedIPs, allowedIP(allowed))
			}
		}
	}
}

// peerKey returns the public key of a peer, which is its first attribute (get_peer in the
// kernel's netlink.c).
func peerKey(attrs []byte) (keyring.PublicKey, bool) {
	for kind, value := range nlmsg.Attributes(attrs) {
		if kind == unix.WGPEER_A_PUBLIC_KEY {
			return keyring.PublicKey(value), true
		}
	}
	return keyring.PublicKey{}, false
}

// timespec parses a struct __kernel_timespec; all zero means never.
func timespec(b []byte) time.Time {
	secs, nsecs := nlmsg.Word(b[:8]), nlmsg.Word(b[8:])
	if secs == 0 && nsecs == 0 {
		return time.Time{}
	}
	return time.Unix(int64(secs), int64(nsecs))
}

// sockaddr parses a struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)).
func sockaddr(b []byte) netip.AddrPort {
	port := func() uint16 { return binary.BigEndian.Uint16(b[2:]) }
	switch {
	case len(b) == unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port())
	case len(b) == unix.SizeofSockaddrInet6:
		addr := netip.AddrFrom16([16]byte(b[8:])).Unmap()
		if scope := binary.NativeEndian.Uint32(b[24:]); scope != 0 && addr.Is6() {
			addr = addr.WithZone(zone(int(scope)))
		}
		return netip.AddrPortFrom(addr, port())
	}
	return netip.AddrPort{}
}

func allowedIP(attrs []byte) netip.Prefix {
	var addr netip.Addr
	bits := 0
	for kind, value := range nlmsg.Attributes(attrs) {
		switch kind {
		case unix.WGALLOWEDIP_A_IPADDR:
			addr, _ = netip.AddrFromSlice(value)
		case unix.WGALLOWEDIP_A_CIDR_MASK:
			bits = int(nlmsg.Word(value))
		}
	}
	return netip.PrefixFrom(addr, bits)
}

// zone returns the name of a link for the endpoint of a peer.
func zone(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}
