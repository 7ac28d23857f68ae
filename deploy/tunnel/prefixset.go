package tunnel

import (
	"net/netip"
	"slices"
)

// A prefixSet finds the prefix around an address in one look-up for each length
// of prefix that is there, however many prefixes there are.
type prefixSet[T any] struct {
	vals map[netip.Prefix]T
	bits []int
}

// put sets the value of p, which has no host bits.
func (s *prefixSet[T]) put(p netip.Prefix, v T) {
	if s.vals == nil {
		s.vals = map[netip.Prefix]T{}
	}
	if !slices.Contains(s.bits, p.Bits()) {
		s.bits = append(s.bits, p.Bits())
		slices.Sort(s.bits)
	}
	s.vals[p] = v
}

// around returns the longest prefix around addr, and its value.
func (s *prefixSet[T]) around(addr netip.Addr) (p netip.Prefix, v T, ok bool) {
	if !addr.IsValid() {
		return p, v, false
	}
	for _, bits := range slices.Backward(s.bits) {
		if p, err := addr.Prefix(bits); err == nil {
			if v, ok := s.vals[p]; ok {
				return p, v, true
			}
		}
	}
	return netip.Prefix{}, v, false
}
