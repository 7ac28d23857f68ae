// Package xtables reads the tables of legacy iptables, which are not in nftables, and
// converts them to the types of package firewall.
package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/firewall"
)

// legacyTables are the tables of legacy iptables with the priority at which they see
// packets (enum nf_ip_hook_priorities). That of nat is for destination NAT.
var legacyTables = map[string]int{"raw": -300, "mangle": -150, nat: -100, "filter": 0, "security": 50}

// nat is the table that sees only the first packet of a connection.
const nat = "nat" // sees the first packet of a connection only

// builtin are the names of base chains, by hook.
var builtin = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// A legacy says how the tables of one family are read (linux/netfilter_ipv4/ip_tables.h and
// linux/netfilter_ipv6/ip6_tables.h).
type legacy struct {
	family firewall.Family
	list   string // file in /proc/net with the names of the loaded tables
	domain int    // protocol family of the socket
	level  int    // level of its options

	// The length of an address, offsets in struct ipt_ip or ip6t_ip6, and its size. Source,
	// destination and their masks come first, then the names of the interfaces and their
	// masks.
	address, proto, flags, size int

	gotos byte // IPT_F_GOTO, IP6T_F_GOTO
}

var (
	legacy4 = legacy{firewall.IPv4, "ip_tables_names", unix.AF_INET, unix.IPPROTO_IP, 4, 80, 82, 84, 2}
	legacy6 = legacy{firewall.IPv6, "ip6_tables_names", unix.AF_INET6, unix.IPPROTO_IPV6, 16, 128, 131, 136, 4}
)

const (
	getInfo    = 64 // IPT_SO_GET_INFO
	getEntries = 65 // IPT_SO_GET_ENTRIES
)

// Chains reads the chains of legacy iptables in both families.
func Chains() ([]firewall.Chain, error) {
	var all []firewall.Chain
	for _, l := range []legacy{legacy4, legacy6} {
		chains, err := l.chains()
		if err != nil {
			return all, err
		}
		all = append(all, chains...)
	}
	return all, nil
}

// chains reads the tables of one family. Asking for a table that is not loaded would load
// it, so the list of those that are is read first.
func (l legacy) chains() ([]firewall.Chain, error) {
	names, err := os.ReadFile("/proc/self/net/" + l.list)
	if err != nil {
		return nil, nil // the kernel has none
	}
	var chains []firewall.Chain
	for table := range strings.FieldsSeq(string(names)) {
		if _, filters := legacyTables[table]; !filters {
			continue
		}
		list, err := l.read(table)
		if err != nil {
			return nil, err
		}
		chains = append(chains, list...)
	}
	return chains, nil
}

// An info is struct ipt_getinfo.
type info struct {
	name      [32]byte
	hooks     uint32
	entry     [5]uint32
	underflow [5]uint32
	entries   uint32
	size      uint32
}

func (l legacy) read(table string) ([]firewall.Chain, error) {
	fd, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for range 10 { // EAGAIN if it changed between the two calls
		var i info
		copy(i.name[:], table)
		if err := l.ask(fd, getInfo, unsafe.Slice((*byte)(unsafe.Pointer(&i)), unsafe.Sizeof(i))); err != nil {
			return nil, err
		}
		const head = 40 // struct ipt_get_entries: name, size and padding
		answer := make([]byte, head+i.size)
		copy(answer, table)
		binary.NativeEndian.PutUint32(answer[32:], i.size)
		err := l.ask(fd, getEntries, answer)
		if err == nil {
			return l.parse(table, &i, answer[head:])
		}
		if !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
	}
	return nil, unix.EAGAIN
}

// ask is getsockopt(2) with an answer of a given size.
func (l legacy) ask(fd, option int, answer []byte) error {
	size := uint32(len(answer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(l.level), uintptr(option),
		uintptr(unsafe.Pointer(&answer[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Match converts a match of iptables.
func Match(name string, revision int, info []byte) firewall.Expr {
	return firewall.Match{Name: name, Revision: revision, Data: info}
}

// Target converts a target of iptables.
func Target(name string, revision int, data []byte) firewall.Expr {
	switch name {
	case "NOTRACK":
		return firewall.Untrack{}
	case "CT":
		if untracks(data) {
			return firewall.Untrack{}
		}
	case "DNAT", "REDIRECT":
		return translation(data)
	case "MARK":
		return mark(data)
	case "CONNMARK":
		return connMark(revision, data)
	}
	return firewall.Target{Name: name}
}

// untracks reports whether struct xt_ct_target_info keeps connection tracking away. It may
// choose a helper instead, as firewalld's services for FTP or Samba have it.
func untracks(data []byte) bool {
	const notrack = 1 << 0 // XT_CT_NOTRACK
	return len(data) < 2 || binary.NativeEndian.Uint16(data)&notrack != 0
}

// connMark parses struct xt_connmark_tginfo1 and 2: the connection's mark and mask, the
// packet's mask, and after a shift what is done (XT_CONNMARK_SET, _SAVE, _RESTORE).
func connMark(revision int, d []byte) firewall.Expr {
	const set, save, restore = 0, 1, 2
	unknown := firewall.ConnMark{Unknown: true}
	at := map[int]int{1: 12, 2: 14}[revision]
	if at == 0 || len(d) < 16 || revision == 2 && d[13] != 0 {
		return unknown
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(d[at:]) }
	switch d[at] {
	case set:
		return firewall.ConnMark{Clear: u32(4), Value: u32(0)}
	case save:
		return firewall.ConnMark{Clear: u32(4), Keep: u32(8)}
	case restore:
		return firewall.ConnMark{Restore: true, Clear: u32(8), Keep: u32(4)}
	}
	return unknown
}

// mark parses struct xt_mark_tginfo2: a mark and a mask.
func mark(d []byte) firewall.Expr {
	if len(d) < 8 {
		return firewall.SetMark{}
	}
	return firewall.SetMark{Value: binary.NativeEndian.Uint32(d), Mask: binary.NativeEndian.Uint32(d[4:])}
}

// translation parses struct nf_nat_range or nf_nat_range2: flags, the first and the last
// address, the first and the last port (linux/netfilter/nf_nat.h); or the shorter
// nf_nat_ipv4_multi_range_compat.
func translation(d []byte) firewall.Expr {
	const (
		plain = unix.NF_NAT_RANGE_MAP_IPS | unix.NF_NAT_RANGE_PROTO_SPECIFIED | unix.NF_NAT_RANGE_PERSISTENT
		old   = 4 + 4 + 4 + 4 + 4 // the number of ranges, which is 1, and one range
		whole = 4 + 16 + 16 + 4
	)
	size := 16
	switch {
	case len(d) >= whole:
	case len(d) >= old:
		d, size = d[4:], 4
	default:
		return firewall.Translation{Unknown: true}
	}
	flags := binary.NativeEndian.Uint32(d)
	first, last, ports := d[4:4+size], d[4+size:4+2*size], d[4+2*size:]
	t := firewall.Translation{Unknown: flags&^plain != 0 || !bytes.Equal(first, last)}
	if flags&unix.NF_NAT_RANGE_MAP_IPS != 0 {
		t.Addr = addrOf(first)
	}
	if flags&unix.NF_NAT_RANGE_PROTO_SPECIFIED != 0 {
		t.Port, t.LastPort = int(binary.BigEndian.Uint16(ports)), int(binary.BigEndian.Uint16(ports[2:]))
	}
	return t
}

// addrOf parses union nf_inet_addr. An IPv4 address is followed by zeros.
func addrOf(b []byte) netip.Addr {
	if len(b) == 16 && bytes.Count(b[4:], []byte{0}) == 12 {
		b = b[:4]
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
