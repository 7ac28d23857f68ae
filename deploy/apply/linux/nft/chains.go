package nft

import (
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
)

// An nftTable is the family and name of an nftables table.
type nftTable struct {
	family firewall.Family
	name   string
}

// all stands for the tables of all families.
var all nftTable

// Flags of a table (linux/netfilter/nf_tables.h), which package nftables does not read.
const (
	tableDormant = 0x1 // NFT_TABLE_F_DORMANT: its chains have no hooks
	tableOwner   = 0x2 // NFT_TABLE_F_OWNER
)

// ruleset reads the chains of nftables that see packets as IP, and the sets that they look into.
func (r reader) ruleset() (firewall.Ruleset, error) {
	var rules firewall.Ruleset
	flags, err := r.tables()
	if err != nil {
		return rules, notThere(err)
	}
	filters := map[nftTable]bool{}
	err = r.dump(all, unix.NFT_MSG_GETCHAIN, nil, func(family byte, data []byte) error {
		a := attributesOf(data)
		t := nftTable{firewall.Family(family), nlenc.String(a[unix.NFTA_CHAIN_TABLE])}
		c := chainOf(t, a)
		c.Owned = flags[t]&tableOwner != 0
		if flags[t]&tableDormant != 0 || !seesIP(t.family) {
			return nil
		}
		rules.SourceNAT = rules.SourceNAT || c.NAT && c.Hook == firewall.Postrouting
		if !strings.HasPrefix(t.name, apply.FilterTable("")) {
			rules.Chains = append(rules.Chains, c)
			filters[t] = filters[t] || c.Hook != firewall.NoHook
		}
		return nil
	})
	if err != nil {
		return rules, notThere(err)
	}
	rules.Chains = slices.DeleteFunc(rules.Chains, func(c firewall.Chain) bool {
		return !filters[nftTable{c.Family, c.Table}]
	})
	for t, filters := range filters {
		if !filters {
			continue
		}
		if err := r.rules(t, rules.Chains); err != nil {
			return rules, err
		}
	}
	rules.Sets, err = r.sets(rules.Chains)
	return rules, err
}

// seesIP reports whether the chains of a family see packets as IP.
func seesIP(f firewall.Family) bool {
	return slices.Contains([]firewall.Family{firewall.INet, firewall.IPv4, firewall.IPv6, firewall.NetDev}, f)
}

// tables reads the flags of all tables.
func (r reader) tables() (map[nftTable]uint32, error) {
	flags := map[nftTable]uint32{}
	err := r.dump(all, unix.NFT_MSG_GETTABLE, nil, func(family byte, data []byte) error {
		a := attributesOf(data)
		flags[nftTable{firewall.Family(family), nlenc.String(a[unix.NFTA_TABLE_NAME])}] = a.number(unix.NFTA_TABLE_FLAGS)
		return nil
	})
	return flags, err
}

func chainOf(t nftTable, a nftAttributes) firewall.Chain {
	c := firewall.Chain{Family: t.family, Table: t.name, Name: nlenc.String(a[unix.NFTA_CHAIN_NAME]),
		Hook: firewall.NoHook, NAT: nlenc.String(a[unix.NFTA_CHAIN_TYPE]) == "nat",
		Routes: nlenc.String(a[unix.NFTA_CHAIN_TYPE]) == "route"}
	_, drops := a[unix.NFTA_CHAIN_POLICY]
	c.Drops = drops && a.number(unix.NFTA_CHAIN_POLICY) == uint32(firewall.VerdictDrop)
	if _, base := a[unix.NFTA_CHAIN_HOOK]; !base {
		return c
	}
	hook := attributesOf(a[unix.NFTA_CHAIN_HOOK])
	c.Hook = hookOf(t.family, hook.number(unix.NFTA_HOOK_HOOKNUM))
	c.Priority = int(int32(hook.number(unix.NFTA_HOOK_PRIORITY)))
	c.Devices = devicesOf(hook)
	return c
}

// hookOf returns the hook for a number, whose meaning differs in the netdev family.
func hookOf(family firewall.Family, number uint32) firewall.Hook {
	if family == firewall.NetDev {
		switch number {
		case unix.NF_NETDEV_INGRESS:
			return firewall.Ingress
		case unix.NF_NETDEV_EGRESS:
			return firewall.Egress
		}
		return firewall.NoHook
	}
	if h := firewall.Hook(number); h <= firewall.Ingress {
		return h
	}
	return firewall.NoHook
}

// devicesOf returns the interfaces of a chain that are given by their whole names. Prefixes
// of names (NFTA_DEVICE_PREFIX) are left out.
func devicesOf(hook nftAttributes) []string {
	const devices = 4 // NFTA_HOOK_DEVS
	if one, ok := hook[unix.NFTA_HOOK_DEV]; ok {
		return []string{nlenc.String(one)}
	}
	list, err := netlink.UnmarshalAttributes(hook[devices])
	if err != nil {
		return nil
	}
	var names []string
	for _, x := range list {
		const name = 1 // NFTA_DEVICE_NAME
		if x.Type == name {
			names = append(names, nlenc.String(x.Data))
		}
	}
	return names
}

// dump asks nftables for all objects of a kind in the table, and calls each with the family
// and the attributes of every one.
func (r reader) dump(t nftTable, kind uint16, about []netlink.Attribute,
	each func(family byte, data []byte) error) error {
	attributes, err := netlink.MarshalAttributes(about)
	if err != nil {
		return err
	}
	messages, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | netlink.Dump},
		Data: append([]byte{byte(t.family), unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
	for _, m := range messages {
		if err == nil && len(m.Data) >= nfgenmsg {
			err = each(m.Data[0], m.Data[nfgenmsg:])
		}
	}
	return err
}
