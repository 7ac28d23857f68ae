package wg

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply/linux/path"
)

// Next implements [path.Next].
func (k *Client) Next(link string) func(to netip.Addr) (path.Hop, bool) {
	d, err := readWithin(glance, k.ctl, link)
	if err != nil {
		return func(netip.Addr) (hop path.Hop, ok bool) { return hop, false }
	}
	return func(to netip.Addr) (path.Hop, bool) { return nextHop(d, to) }
}

// nextHop finds the peer for an address: of the peers' allowed IPs the longest that contains
// it counts.
func nextHop(d *wgtypes.Device, to netip.Addr) (hop path.Hop, ok bool) {
	longest := -1
	for i := range d.Peers {
		p := &d.Peers[i]
		for _, n := range p.AllowedIPs {
			addr, valid := netip.AddrFromSlice(n.IP)
			bits, _ := n.Mask.Size()
			if !valid || !netip.PrefixFrom(addr.Unmap(), bits).Contains(to) || bits <= longest {
				continue
			}
			longest, ok = bits, p.Endpoint != nil
			if ok {
				hop = path.Hop{To: unmapped(p.Endpoint.AddrPort()), Mark: uint32(d.FirewallMark), Port: d.ListenPort}
			}
		}
	}
	return hop, ok
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
