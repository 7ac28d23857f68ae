package wg

import (
	"net/netip"

	"wgkeys/deploy/apply/linux/path"
)

// Next implements [path.Next]: of the peers' allowed IPs the longest that contains the
// address counts.
func (k *Client) Next(link string, to netip.Addr) (hop path.Hop, ok bool) {
	d, err := k.ctl.Device(link)
	if err != nil {
		return hop, false
	}
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
