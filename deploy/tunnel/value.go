package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"wgkeys/keyring"
)

// defaultPort is where a host with an endpoint listens if nothing else is said.
const defaultPort = 51820

// parseAddr reads a single address. A zone names an interface of one host, which may get another
// name, and an IPv4-mapped address is IPv4 to some of the kernel and IPv6 to the rest.
func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s is no IP address", shown(s))
	}
	return addr, checkAddr(addr)
}

// parseGateway reads the address of a next hop.
func parseGateway(s string) (netip.Addr, error) {
	addr, err := parseAddr(s)
	if err == nil && (addr.IsUnspecified() || addr.IsMulticast()) {
		err = fmt.Errorf("%s is not a next hop: leave gateway out if there is none", addr)
	}
	return addr, err
}

func checkAddr(addr netip.Addr) error {
	switch {
	case !addr.IsValid():
		return errors.New("an IP address is missing")
	case addr.Zone() != "":
		return fmt.Errorf("%s has a zone: write an address that needs none", shown(addr.String()))
	case addr.Is4In6():
		return fmt.Errorf("%s is an IPv4-mapped address: write %s", addr, addr.Unmap())
	}
	return nil
}

// parsePrefix reads a prefix or a bare address.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := parseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return single(addr), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if addr, mask, _ := strings.Cut(s, "/"); net.ParseIP(mask) != nil {
			return netip.Prefix{}, fmt.Errorf("%s has a netmask: write its length, as in %s/24", shown(s), addr)
		}
		return netip.Prefix{}, fmt.Errorf("%s is neither an address nor a prefix", shown(s))
	}
	return p, checkAddr(p.Addr())
}

func checkAddress(p netip.Prefix) error {
	switch err := checkPrefix(p); {
	case err != nil:
		return err
	case p.Addr().IsUnspecified() || p.Addr().IsMulticast():
		return fmt.Errorf("%s is not an address that a host can have", p.Addr())
	case p.Bits() == 0:
		return fmt.Errorf("%s would put every address on-link: write a route for that", p)
	}
	return nil
}

// parseRoute reads a prefix without host bits.
func parseRoute(s string) (netip.Prefix, error) {
	if s == "default" {
		return netip.Prefix{}, errors.New(`a default route is "0.0.0.0/0" for IPv4, and "::/0" for IPv6`)
	}
	p, err := parsePrefix(s)
	if err != nil {
		return p, err
	}
	return p, checkMasked(p)
}

func checkMasked(p netip.Prefix) error {
	if err := checkPrefix(p); err != nil {
		return err
	}
	if p != p.Masked() {
		return fmt.Errorf("%s has host bits set: write %s", p, p.Masked())
	}
	return nil
}

func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() {
		return errors.New("a prefix is missing")
	}
	return checkAddr(p.Addr())
}

// single returns the prefix of addr alone.
func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// An endpoint is an OUTSIDE address or name, and a port: 0 if none was written.
type endpoint struct {
	name string     // of a host on the internet; "" for an address
	addr netip.Addr // the zero Addr for a name
	port int
}

// withPort spells e as wg(8) does, with port if it has none of its own.
func (e endpoint) withPort(port int) string {
	if e.port != 0 {
		port = e.port
	}
	if e.name == "" {
		return netip.AddrPortFrom(e.addr, uint16(port)).String()
	}
	return net.JoinHostPort(e.name, strconv.Itoa(port))
}

func (e endpoint) String() string {
	if e.port == 0 {
		return e.host()
	}
	return e.withPort(0)
}

// endpoints are those of one host, in the order in which they are tried.
type endpoints []endpoint

// withPort spells them as a view does, each once and separated by commas.
func (all endpoints) withPort(port int) string {
	if len(all) == 1 {
		return all[0].withPort(port)
	}
	var list []string
	for _, e := range all {
		if spelled := e.withPort(port); !slices.Contains(list, spelled) {
			list = append(list, spelled)
		}
	}
	return strings.Join(list, ",")
}

// host returns the address or the name.
func (e endpoint) host() string {
	if e.name != "" {
		return e.name
	}
	return e.addr.String()
}

// parseEndpoint reads an address or a name, with or without a port. An IPv6
// address with a port is in brackets (RFC 3986, section 3.2.2).
func parseEndpoint(s string) (endpoint, error) {
	if strings.Count(s, ":") != 1 { // IPv4 has none, IPv6 two at least
		if addr, err := netip.ParseAddr(s); err == nil {
			return endpoint{addr: addr}, checkOutside(addr)
		}
	}
	if scheme, _, is := strings.Cut(s, "://"); is {
		return endpoint{}, fmt.Errorf("%s is neither an address nor the name of a host: leave %s out", shown(s), shown(scheme+"://"))
	}
	name, port, err := cutPort(s)
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{port: port}
	inner, bracketed := strings.CutPrefix(name, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(inner)
	switch {
	case err == nil && addr.Is6() == bracketed:
		e.addr = addr
		return e, checkOutside(addr)
	case err == nil && addr.Is6():
		return e, fmt.Errorf("%s: an IPv6 address with a port is written [%s]:%d", shown(s), addr, port)
	case !validDomain(name):
		return e, noDomain(s)
	}
	e.name = name
	return e, nil
}

// noDomain says why s is not an endpoint with a name.
func noDomain(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII && unicode.IsLetter(r) }) {
		return fmt.Errorf("%s has letters that the DNS does not have: write its xn-- form, which idn2 prints", shown(s))
	}
	return fmt.Errorf("%s is neither an address nor the name of a host", shown(s))
}

// cutPort cuts the port off, 0 if there is none.
func cutPort(s string) (name string, port int, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i < strings.LastIndexByte(s, ']') {
		return s, 0, nil
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || n == 0 || s[i+1] == '0' {
		return "", 0, fmt.Errorf("%s has no port from 1 to 65535 after its last colon", shown(s))
	}
	return s[:i], int(n), nil
}

// CheckEndpoint returns why s is not an endpoint, or nil if it is one.
func CheckEndpoint(s string) error {
	_, err := parseEndpoint(s)
	return err
}

func checkOutside(addr netip.Addr) error {
	if err := checkAddr(addr); err != nil {
		return err
	}
	if addr.IsUnspecified() || addr.IsMulticast() {
		return fmt.Errorf("%s is not an address that packets can be sent to", addr)
	}
	return nil
}

// validDomain reports whether name can be a name in the DNS (RFC 1123, section
// 2.1). Its last label is not all digits, or it would be a mistyped address.
func validDomain(name string) bool {
	if name = strings.TrimSuffix(name, "."); name == "" || len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || !spelled(label, "-_") {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

// The kernel's own routing tables (RT_TABLE_UNSPEC, _MAIN and _LOCAL in
// linux/rtnetlink.h).
const tableNone, tableMain, tableLocal = 0, 254, 255

// tableOff is table = "off": no route at all, as Table = off of wg-quick(8).
const tableOff = -1

// checkTable returns why a tunnel file cannot name a routing table.
func checkTable(table int) error {
	switch table {
	case tableNone:
		return errors.New("0 is no routing table")
	case tableMain:
		// apply cannot keep a route there that would catch the encrypted packets.
		return errors.New("254 is the main table, where routes go that name none")
	case tableLocal:
		return errors.New("255 is the table of the host's own addresses, which the kernel looks at before all others")
	}
	return nil
}

// checkPath returns why p cannot be the file of a key on a host.
func checkPath(p string) error {
	if err := keyring.CheckFile(p); err != nil {
		return fmt.Errorf("%s %w", shown(p), err)
	}
	return nil
}

// checkPSKFile returns why p cannot be the file of a preshared key on a host.
func checkPSKFile(p string) error {
	if strings.HasSuffix(p, ".next.key") {
		return errors.New("a preshared key file cannot end in .next.key as the private keys of a rotation do")
	}
	return checkPath(p)
}

// checkSSH returns why dest cannot be given to ssh(1). A leading dash would be
// an option; the other characters could reach a shell through %h or %r in the
// user's ssh_config (CVE-2023-51385).
func checkSSH(dest string) error {
	switch {
	case dest == "" || dest[0] == '-':
		return fmt.Errorf("%s is no destination for ssh", shown(dest))
	case strings.ContainsFunc(dest, func(r rune) bool { return unprintable(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("%s has a space, or a character that cannot be printed", shown(dest))
	case strings.ContainsAny(dest, "'`\"$\\;&<>|(){}*?!#~^"):
		return fmt.Errorf("%s has a character that means something to a shell", shown(dest))
	}
	return checkSSHPort(dest)
}

// checkSSHPort refuses a port, and the brackets around an IPv6 address, where ssh(1) would
// take them for a part of the host's name, and a URI that it would answer with its usage.
func checkSSHPort(dest string) error {
	uri, isURI := strings.CutPrefix(dest, "ssh://")
	at := strings.LastIndexByte(uri, '@')
	host := uri[at+1:]
	_, port, hasPort := strings.Cut(host, ":")
	switch {
	case at == 0:
		return fmt.Errorf("%s names no user before the @", shown(dest))
	case host == "" || strings.ContainsAny(host[:1], "-/") || isURI && host[0] == ':':
		return fmt.Errorf("%s names no host for ssh", shown(dest))
	case strings.HasPrefix(host, "["):
		return fmt.Errorf("%s: ssh takes an IPv6 address without brackets, and its port from ssh_config(5)", shown(dest))
	case isURI:
		return checkSSHURI(dest, host)
	case hasPort && port != "" && strings.Trim(port, "0123456789") == "":
		return fmt.Errorf("%s: a destination with a port is written %s", shown(dest), shown("ssh://"+dest))
	}
	return nil
}

// checkSSHURI checks what follows the user in a URI. ssh has no URI with an IPv6 address:
// parse_uri takes only what can be a domain (OpenSSH's misc.c).
func checkSSHURI(dest, host string) error {
	host, path, _ := strings.Cut(host, "/")
	_, port, _ := strings.Cut(host, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case path != "":
		return fmt.Errorf("%s: a destination for ssh has no path", shown(dest))
	case strings.Contains(port, ":"):
		return fmt.Errorf("%s: ssh takes an IPv6 address without ssh://, and its port from ssh_config(5)", shown(dest))
	case port != "" && (err != nil || number == 0):
		return fmt.Errorf("%s: a port is a number from 1 to 65535", shown(dest))
	}
	return nil
}

// checkDescription returns why s cannot describe a host: a line that a terminal shows
// as it is, in the width of some screens.
func checkDescription(s string) error {
	const most = 255 // bytes
	switch {
	case strings.TrimSpace(s) != s || s == "":
		return errors.New("a description is a line of text, without space around it")
	case strings.ContainsFunc(s, unprintable):
		return fmt.Errorf("%s has a character that cannot be printed", shown(s))
	case len(s) > most:
		return fmt.Errorf("%s is longer than %d bytes", shown(s), most)
	}
	return nil
}

// unprintable reports whether a reviewer would not see a character, or would see the others
// in another order because of it.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// A masquerade is whose packets leave under an address of the host.
type masquerade struct {
	peers  bool     // those of the peers, by uplinks, under its OUTSIDE address
	by     []string // by these uplinks alone; nil: by any
	tunnel bool     // those of the host's own networks, by the tunnel, under its INSIDE address
}
