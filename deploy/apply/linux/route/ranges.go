package route

import (
	"net/netip"
	"slices"

	"wgkeys/deploy/tunnel"
)

// ranges is a set of prefixes of more than one address, with the lengths that occur.
type ranges struct {
	prefixes map[netip.Prefix]bool
	bits     []int
}

// rangesOf returns the prefixes that the view's addresses and routes send into the tunnel.
func rangesOf(view *tunnel.View) (r ranges) {
	for _, n := range view.Networks() {
		r.add(n)
	}
	for i := range view.Routes {
		r.add(view.Routes[i].Prefix)
	}
	return r
}

func (r *ranges) add(p netip.Prefix) {
	if p.IsSingleIP() {
		return
	}
	if r.prefixes == nil {
		r.prefixes = map[netip.Prefix]bool{}
	}
	if r.prefixes[p] = true; !slices.Contains(r.bits, p.Bits()) {
		r.bits = append(r.bits, p.Bits())
	}
}

// contain reports whether p lies within one of them.
func (r *ranges) contain(p netip.Prefix) bool {
	return slices.ContainsFunc(r.bits, func(bits int) bool {
		around, err := p.Addr().Prefix(bits)
		return err == nil && bits <= p.Bits() && r.prefixes[around]
	})
}
