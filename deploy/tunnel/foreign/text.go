package foreign

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wgkeys/keyring"
	"wgkeys/keyring/fault"
	"wgkeys/keyring/lazyregexp"
	"wgkeys/keyring/words"
)

// A Reader collects the errors in files of another program, so that one run finds all of
// them.
type Reader struct {
	Tool string // the program, for error messages: "wg-quick"
	errs []error
}

// Wrong reports a line that cannot be read. The message must not repeat a value that may be
// a secret.
func (r *Reader) Wrong(at Pos, hint, format string, args ...any) {
	why := Unkeyed(fmt.Sprintf(format, args...))
	r.errs = append(r.errs, fault.NewLine("cannot import", at.File, at.Line, why, Unkeyed(hint)))
}

// Unknown reports a key that the program does not have, with the most similar one that it
// has.
func (r *Reader) Unknown(at Pos, section, key string, known []string) {
	if amnezia(key) {
		r.Wrong(at, "take it out, on all hosts of the tunnel: the kernel's WireGuard has no such thing",
			"%s is a key of AmneziaWG, which no WireGuard understands", key)
		return
	}
	why := fmt.Sprintf("%s has no key %s in [%s]", r.Tool, Shown(key), section)
	if near := words.Nearest(key, slices.Values(known)); near != "" {
		why += fmt.Sprintf(": did you mean %s?", near)
	}
	r.Wrong(at, "", "%s", why)
}

// Bounded reports whether files have at most most bytes together. If they have more, that is an
// error.
func (r *Reader) Bounded(files []File, most int) bool {
	size := 0
	for _, f := range files {
		if size += len(f.Text); size > most {
			r.Wrong(Pos{File: f.Name, Line: 1}, "", "with it the files have more than %d MB", most>>20)
			return false
		}
	}
	return true
}

// Err returns all errors, in the order of the files, or nil.
func (r *Reader) Err() error { return join(r.errs) }

func join(errs []error) error {
	const many = 20 // more do not help
	switch {
	case len(errs) == 0:
		return nil
	case len(errs) > many:
		errs = append(errs[:many:many], fmt.Errorf("and %d more", len(errs)-many))
	}
	return joined(errs)
}

// joined is a list of errors that prints one per line.
type joined []error

func (j joined) Unwrap() []error { return j }

func (j joined) Error() string {
	lines := make([]string, len(j))
	for i, err := range j {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// amnezia reports whether a key is one of AmneziaWG's, which change the packets
// (amneziawg-tools, src/config.c: Jc, Jmin, Jmax, S1 to S4, H1 to H4, I1 to I5).
func amnezia(key string) bool {
	switch strings.ToLower(key) {
	case "jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4",
		"i1", "i2", "i3", "i4", "i5", "j1", "j2", "j3", "itime":
		return true
	}
	return false
}

// Shown quotes a piece of a file for an error. It repeats nothing that may be a key or a
// part of one.
func Shown(s string) string {
	if maybeSecret(s) {
		return "(what may be a key)"
	}
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.Quote(s)
}

// keys matches what has the form of a key in base64, and the letters before it.
var keys = lazyregexp.New(`[A-Za-z0-9+/]{43,}=`)

// Unkeyed returns a text for the user without what may be a key. A piece of a file is repeated
// by [Shown] in it; this is for what slips through, such as a key within a path.
func Unkeyed(text string) string {
	if !keyring.HoldsKey(text) {
		return text
	}
	return keys().ReplaceAllString(text, "(what may be a key)")
}

// maybeSecret reports whether s may hold a secret: it has 20 consecutive characters of
// base64 or hexadecimal that are not all lower-case letters, or it calls itself one.
func maybeSecret(s string) bool {
	upper := strings.ToUpper(s)
	if strings.Contains(upper, "SECRET") || strings.Contains(upper, "PASSW") {
		return true
	}
	run, digits, upperCase := 0, false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case '0' <= c && c <= '9', c == '+', c == '/', c == '=':
			run, digits = run+1, true
		case 'A' <= c && c <= 'Z':
			run, upperCase = run+1, true
		case 'a' <= c && c <= 'z':
			run++
		default:
			run, digits, upperCase = 0, false, false
		}
		if run >= 20 && (digits || upperCase) {
			return true
		}
	}
	return false
}

// Comment returns the text of a comment line without its marks. It reports false if there
// is no text, if it may hold a secret, such as a key that was commented out, or if it is a
// note in an export of ours, which begins with "wgkeys:".
func Comment(line string) (text string, ok bool) {
	text = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#;"))
	text = strings.TrimSpace(strings.TrimRight(text, "#"))
	if text == "" || hidden(text) || strings.HasPrefix(text, "wgkeys:") {
		return "", false
	}
	return text, true
}

// hidden reports whether a comment may hold a key: a value is assigned to something called
// a key, or a word could be most of one.
func hidden(text string) bool {
	name, value, given := strings.Cut(strings.ToLower(text), "=")
	if given && strings.Contains(name, "key") && strings.TrimSpace(value) != "" {
		return true
	}
	for word := range strings.FieldsSeq(text) {
		if strings.Contains(word, "://") || strings.Contains(word, ".") {
			continue // a URL or a domain name
		}
		if len(word) >= 32 && maybeSecret(word) {
			return true
		}
	}
	return false
}

// placeholder reports whether s stands in the place of a key that was removed.
func placeholder(s string) bool {
	t := strings.TrimSpace(s)
	lower := strings.ToLower(t)
	if takenOut(t) {
		return true
	}
	for _, word := range []string{"your", "fixme", "redacted", "changeme", "replace", "example", "insert", "hidden",
		"removed"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	letters := strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz_-. ") == ""
	return letters && strings.Contains(lower, "key")
}

// takenOut reports whether s stands in the place of any value that was removed: brackets of
// a template, dots, a row of x.
func takenOut(s string) bool {
	t := strings.TrimSpace(s)
	switch {
	case t == "", strings.ContainsAny(t, "<>{}()$%"), strings.Contains(t, "..."), strings.Contains(t, "…"),
		strings.Contains(t, "***"):
		return true
	}
	return strings.Trim(strings.ToLower(t), "x.:/") == "" || strings.Trim(t, "#_-") == ""
}

// whyNoKey says why a value is not a key, without repeating the value.
func whyNoKey(s string, err error) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "it is empty"
	case strings.HasPrefix(strings.TrimSpace(s), "ENC["):
		return "sops has encrypted it"
	case placeholder(s), strings.ContainsAny(s, "[]"):
		return "a placeholder stands where the key was"
	}
	return err.Error()
}

// PrivateKey parses a private key in base64.
func (r *Reader) PrivateKey(at Pos, name, s string) keyring.PrivateKey {
	k, err := keyring.ParsePrivateKey([]byte(s))
	if err != nil {
		r.Wrong(at, "copy the key from the host: wg show IFACE private-key", "%s: %s", name, whyNoKey(s, err))
	}
	return k
}

// PublicKey parses a public key in base64.
func (r *Reader) PublicKey(at Pos, name, s string) keyring.PublicKey {
	k, err := keyring.ParsePublicKey([]byte(s))
	if err != nil {
		r.Wrong(at, "copy the key from the peer: wg show IFACE public-key", "%s: %s", name, whyNoKey(s, err))
	}
	return k
}

// zeros is the key of zeros, which is none to the kernel (WG_PEER_A_PRESHARED_KEY).
var zeros = strings.Repeat("A", 43) + "="

// PresharedKey parses a preshared key in base64, or none.
func (r *Reader) PresharedKey(at Pos, name, s string) keyring.PresharedKey {
	if s == zeros {
		return keyring.PresharedKey{}
	}
	k, err := keyring.ParsePresharedKey([]byte(s))
	if err != nil {
		r.Wrong(at, "copy the key from a host: wg show IFACE preshared-keys", "%s: %s", name, whyNoKey(s, err))
	}
	return k
}

// ofComment is the hint for a value that is followed by a comment, where the program does
// not allow one.
func ofComment(s string) string {
	if strings.Contains(s, " #") || strings.Contains(s, "\t#") {
		return "write the comment into a line of its own"
	}
	return ""
}

// Number parses an integer from low to high, in decimal or in hexadecimal with 0x.
func (r *Reader) Number(at Pos, name, s string, low, high int) int {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	if strings.HasPrefix(strings.TrimSpace(s), "0") && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(s)), "0x") {
		n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64) // a leading zero does not mean octal
	}
	if err != nil || n < int64(low) || n > int64(high) {
		if takenOut(s) && strings.TrimSpace(s) != "" {
			r.Wrong(at, "", "%s: a placeholder stands where a number was", name)
			return 0
		}
		r.Wrong(at, ofComment(s), "%s: %s is no whole number from %d to %d", name, Shown(s), low, high)
		return 0
	}
	return int(n)
}

// Prefix parses a prefix or a single address. It does not clear the host bits.
func (r *Reader) Prefix(at Pos, name, s string) (netip.Prefix, bool) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "/") {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" && !addr.Is4In6() {
			return netip.PrefixFrom(addr, addr.BitLen()), true
		}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		why := Shown(s) + " is neither an address nor a prefix"
		switch {
		case err == nil || strings.HasPrefix(strings.ToLower(s), "::ffff:"):
			why = Shown(s) + " is an address of IPv4 within IPv6, which no packet in a tunnel has"
		case s == "":
			why = "there is nothing before or after a comma"
		case s == "(none)":
			why = "(none) is what wg show prints where there is nothing: leave the line out"
		case takenOut(s):
			why = "a placeholder stands where an address was"
		}
		r.Wrong(at, ofComment(s), "%s: %s", name, why)
		return p, false
	}
	return p, true
}

// Endpoint parses an address or a name with a port. As in wg(8) the port follows the last
// colon (parse_endpoint in wireguard-tools' config.c). The result has the form of
// [net.JoinHostPort].
func (r *Reader) Endpoint(at Pos, name, s string) string {
	s = strings.TrimSpace(s)
	i := strings.LastIndexByte(s, ':')
	known, err := netip.ParseAddrPort(s)
	if err == nil && known.Addr().Is4() && s[i+1] != '0' {
		return s // as most are, and spelled right
	}
	if invented := invented(s, err == nil); i < 0 || invented {
		why := Shown(s) + " has no port after a colon"
		switch {
		case s == "":
			why = "it is empty"
		case invented:
			why = "a placeholder stands where the endpoint was"
		}
		r.Wrong(at, "", "%s: %s", name, why)
		return ""
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		r.Wrong(at, "", "%s: %s has no port from 1 to 65535 after its last colon", name, Shown(s))
		return ""
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if host == "" || strings.ContainsAny(host, " \t\"'[]/") {
		r.Wrong(at, "", "%s: %s is neither an address nor the name of a host", name, Shown(s))
		return ""
	}
	return net.JoinHostPort(asInViews(host), strings.TrimLeft(port, "0"))
}

// asInViews spells an address as a view does. A name stays as it is.
func asInViews(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	return host
}

// invented reports whether s stands in the place of an endpoint. An address with a zone has
// "%" but is no template, and a name with a dot, such as vpn.example.net, is taken for a real
// one.
func invented(s string, address bool) bool {
	return !address && takenOut(s) || !strings.Contains(s, ".") && !strings.Contains(s, "[") && placeholder(s)
}
