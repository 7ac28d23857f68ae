package linux

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/apply/linux/interfaces"
	"wgkeys/deploy/apply/linux/nft"
	"wgkeys/deploy/tunnel"

	"github.com/vishvananda/netlink"
)

// observeFirewall reads the packet filters that may drop what the view needs to pass:
// forwarded packets, and encrypted packets in both directions. Where the rules cannot be
// read, no finding is made of them.
func observeFirewall(nl *netlink.Handle, s *apply.State, view *tunnel.View) error {
	if view == nil || !view.Forward && view.ListenPort == 0 && len(view.Peers) == 0 {
		return nil
	}
	rules, err := nft.Ruleset()
	if err != nil || len(rules.Chains) == 0 {
		return nil
	}
	rules.IPTables = iptablesNft()
	if slices.ContainsFunc(rules.Chains, func(c firewall.Chain) bool { return c.NAT }) {
		if rules.Local, err = interfaces.Addresses(nl); err != nil {
			return err
		}
	}
	if rules.AsksForLinks() {
		if rules.Links, err = interfaces.Properties(nl); err != nil {
			return err
		}
	}
	s.Firewall = rules
	return interfaces.Observe(nl, s)
}

// iptablesNft reports whether the host's iptables(8) is the one that writes nftables rules.
func iptablesNft() bool {
	path, err := exec.LookPath("iptables")
	if err != nil {
		return false
	}
	path, err = filepath.EvalSymlinks(path)
	return err == nil && strings.Contains(filepath.Base(path), "nft")
}
