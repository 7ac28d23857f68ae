package linux

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	nl "github.com/vishvananda/netlink"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/deploy/tunnel"
)

// observeFirewall reads what may drop the packets that the view needs to pass:
// those that are forwarded, and the encrypted ones of both ways. Where something
// cannot be read, nothing is known, and nothing will be claimed.
func (k *Kernel) observeFirewall(s *apply.State, view *tunnel.View) error {
	if view == nil || !view.Forward && view.ListenPort == 0 && len(view.Peers) == 0 {
		return nil
	}
	rules, err := nft.Ruleset()
	if err != nil || len(rules.Chains) == 0 {
		return nil
	}
	rules.IPTables = iptablesNft()
	s.Firewall = rules
	if s.Interfaces, err = k.interfaces(); err != nil || s.Uplinks != nil {
		return err
	}
	names := map[int]string{}
	for _, i := range s.Interfaces {
		names[i.Index] = i.Name
	}
	s.Uplinks, err = k.uplinks(names)
	return err
}

// iptablesNft reports whether iptables(8) here is the one that speaks nftables.
func iptablesNft() bool {
	path, err := exec.LookPath("iptables")
	if err != nil {
		return false
	}
	path, err = filepath.EvalSymlinks(path)
	return err == nil && strings.Contains(filepath.Base(path), "nft")
}

// interfaces are those that are not loopback's, and which families they have an
// address of that is valid beyond the link.
func (k *Kernel) interfaces() ([]apply.Interface, error) {
	links, err := nlmsg.Retry(k.nl.LinkList)
	if err != nil {
		return nil, err
	}
	var list []apply.Interface
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback == 0 {
			list = append(list, apply.Interface{Name: a.Name, Index: a.Index, Kind: l.Type()})
		}
	}
	addrs, err := nlmsg.Retry(func() ([]nl.Addr, error) { return k.nl.AddrList(nil, nl.FAMILY_ALL) })
	for _, a := range addrs {
		i := slices.IndexFunc(list, func(i apply.Interface) bool { return i.Index == a.LinkIndex })
		if p, ok := nlmsg.Prefix(a.IPNet); ok && i >= 0 && !p.Addr().IsLinkLocalUnicast() {
			list[i].IPv4 = list[i].IPv4 || p.Addr().Is4()
			list[i].IPv6 = list[i].IPv6 || p.Addr().Is6()
		}
	}
	return list, err
}
