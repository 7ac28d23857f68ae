package tunnel

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"wgkeys/keyring"
	"wgkeys/keyring/words"
)

// CheckName returns why name cannot be a tunnel's, nil if it can.
//
// A tunnel's name is its interface's: at most IFNAMSIZ-1 bytes, neither "." nor
// "..", no slash, colon or space (dev_valid_name in Linux's net/core/dev.c), and
// not the "all" or "default" of /proc/sys/net/ipv4/conf; nor is it "lo", which every host
// has. It names files and stands in commands too, so it keeps to the letters that
// wg-quick(8) takes.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a tunnel needs a name")
	case len(name) > 15:
		return errors.New("an interface's name has at most 15 bytes")
	case name == "." || name == ".." || name == "all" || name == "default":
		return errors.New("no interface can have this name")
	case name == "lo":
		return errors.New("the loopback interface of every host has this name")
	case name[0] == '-':
		return errors.New("a leading dash would make it an option")
	case keyring.IsNext(name):
		return errors.New(`".next" marks the files of a rotation, which would be the same as its own`)
	case !spelled(name, "_=+.-"):
		return errors.New("an interface's name is letters, digits and _ = + . -")
	}
	return nil
}

// checkUplink returns why name cannot be the interface of an uplink. It stands in the
// rules of nftables, and keeps to the letters that a tunnel's name has.
func checkUplink(name string) error {
	switch {
	case name == "":
		return errors.New("an interface needs a name")
	case name == "lo":
		return errors.New("lo is not an uplink")
	case len(name) > 15 || !spelled(name, "_=+.-"):
		return fmt.Errorf("%s is no interface's name", shown(name))
	}
	return nil
}

// checkTag returns why a word cannot be a tag. After an @ it stands on command lines, where
// no shell is to see anything in it.
func checkTag(s string) error {
	if s == "" || len(s) > 63 || !spelled(s, "_.-") {
		return fmt.Errorf("%s is no tag: letters, digits and _ . -, at most 63", shown(s))
	}
	return nil
}

// checkDNS accepts the address of a resolver, or a domain to ask it for: "~."
// is every name, and "~example.net" is asked for but not searched, as in
// systemd.network(5).
func checkDNS(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		return checkAddr(addr)
	}
	domain := strings.TrimPrefix(s, "~")
	if domain == "." && s != domain {
		return nil
	}
	lower := spelled(domain, ".-_") && domain == strings.ToLower(domain)
	if domain == "" || len(domain) > 253 || domain[0] == '-' || !lower {
		return fmt.Errorf("%s is neither an address nor a domain", shown(s))
	}
	return nil
}

// spelled reports whether s consists of ASCII letters, digits and the bytes of others.
func spelled(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', 'A' <= c && c <= 'Z':
		case strings.IndexByte(others, c) < 0:
			return false
		}
	}
	return true
}

// didYouMean returns `: did you mean "X"?` with the known name nearest to name,
// or "" if none is near.
func didYouMean(name string, known iter.Seq[string]) string {
	if best := words.Nearest(name, known); best != "" {
		return ": did you mean " + strconv.Quote(best) + "?"
	}
	return ""
}

// shown spells a piece of the input for an error. What looks like a key is not
// repeated: somebody may have pasted a private one into the wrong place.
func shown(s string) string {
	t := strings.TrimSpace(s)
	if keyring.HoldsKey(t) || strings.Contains(strings.ToUpper(t), "SECRET-KEY") {
		return "(what looks like a key)"
	}
	if r := []rune(s[:min(len(s), 71*utf8.UTFMax)]); len(r) > 70 {
		s = string(r[:70]) + "…"
	}
	return strconv.Quote(s)
}
