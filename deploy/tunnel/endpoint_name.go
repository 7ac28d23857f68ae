package tunnel

import "net/netip"

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
