package linux

import (
	"encoding/binary"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	nl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/tunnel"
)

// observeFirewall reads what may drop the packets that the view needs to pass:
// those that are forwarded, and those that come to its port. Where something
// cannot be read, nothing is known, and nothing will be claimed.
func (k *Kernel) observeFirewall(s *apply.State, view *tunnel.View) error {
	if view == nil || !view.Forward && view.ListenPort == 0 {
		return nil
	}
	rules, err := readFirewall()
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
	links, err := retry(k.nl.LinkList)
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
	addrs, err := retry(func() ([]nl.Addr, error) { return k.nl.AddrList(nil, nl.FAMILY_ALL) })
	for _, a := range addrs {
		i := slices.IndexFunc(list, func(i apply.Interface) bool { return i.Index == a.LinkIndex })
		if p, ok := prefixOf(a.IPNet); ok && i >= 0 && !p.Addr().IsLinkLocalUnicast() {
			list[i].IPv4 = list[i].IPv4 || p.Addr().Is4()
			list[i].IPv6 = list[i].IPv6 || p.Addr().Is6()
		}
	}
	return list, err
}

// readFirewall reads the chains that see packets on their way, and those that they
// jump to: nftables', which iptables-nft's are too, and those of iptables' own.
func readFirewall() (firewall.Ruleset, error) {
	rules, err := readNftables()
	if err != nil {
		return rules, err
	}
	for _, l := range []legacy{legacy4, legacy6} {
		chains, err := l.chains()
		if err != nil {
			return rules, err
		}
		rules.Chains = append(rules.Chains, chains...)
	}
	return rules, nil
}

// A nftTable is a table of nftables that has a chain that sees packets.
type nftTable struct {
	family firewall.Family
	name   string
}

func readNftables() (firewall.Ruleset, error) {
	var rules firewall.Ruleset
	nft, err := nftables.New()
	if err != nil {
		return rules, err
	}
	chains, err := nft.ListChains()
	if err != nil {
		return rules, notThere(err)
	}
	filters := map[nftTable]bool{}
	for _, c := range chains {
		if t, ok := tableOf(c.Table); ok && hookOf(c) != firewall.NoHook {
			filters[t] = true
		}
	}
	for _, c := range chains {
		if t, ok := tableOf(c.Table); ok && filters[t] {
			rules.Chains = append(rules.Chains, chainOf(t, c))
		}
	}
	for t := range filters {
		if err := readRules(t, rules.Chains); err != nil {
			return rules, err
		}
	}
	rules.Sets, err = readSets(rules.Chains)
	return rules, err
}

// tableOf leaves out the tables of families that see no packets of IP as such, and
// our own.
func tableOf(t *nftables.Table) (nftTable, bool) {
	family := firewall.Family(t.Family)
	known := family == firewall.INet || family == firewall.IPv4 || family == firewall.IPv6
	return nftTable{family, t.Name}, known && !strings.HasPrefix(t.Name, apply.FilterTable(""))
}

// hookOf is the hook where a chain may drop packets. What translates addresses
// does not.
func hookOf(c *nftables.Chain) firewall.Hook {
	if c.Hooknum == nil || c.Type == nftables.ChainTypeNAT {
		return firewall.NoHook
	}
	switch h := firewall.Hook(*c.Hooknum); h {
	case firewall.Prerouting, firewall.Input, firewall.Forward, firewall.Postrouting:
		return h
	}
	return firewall.NoHook
}

func chainOf(t nftTable, c *nftables.Chain) firewall.Chain {
	const owner = 0x2 // NFT_TABLE_F_OWNER
	out := firewall.Chain{Family: t.family, Table: t.name, Name: c.Name, Hook: hookOf(c), Owned: c.Table.Flags&owner != 0}
	if c.Priority != nil {
		out.Priority = int(*c.Priority)
	}
	out.Drops = c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
	return out
}

// readRules reads the rules of a table into its chains. Package nftables leaves out
// the expressions that it does not know, and a rule without one of its conditions
// would match what it does not.
func readRules(t nftTable, chains []firewall.Chain) error {
	return t.dump(unix.NFT_MSG_GETRULE, []netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: nlenc.Bytes(t.name)}},
		func(data []byte) error { return readRule(t, data, chains) })
}

// dump asks nftables for all of a kind that a table has, and calls each with the
// attributes of one.
func (t nftTable) dump(kind uint16, about []netlink.Attribute, each func(data []byte) error) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	attributes, err := netlink.MarshalAttributes(about)
	if err != nil {
		return err
	}
	const generic = 4 // bytes of struct nfgenmsg
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(t.family), unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
	for _, m := range messages {
		if err == nil && len(m.Data) >= generic {
			err = each(m.Data[generic:])
		}
	}
	return err
}

func readRule(t nftTable, data []byte, chains []firewall.Chain) error {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return err
	}
	var table, chain string
	var rule firewall.Rule
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_TABLE:
			table = ad.String()
		case unix.NFTA_RULE_CHAIN:
			chain = ad.String()
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *netlink.AttributeDecoder) error {
						rule = append(rule, readExpr(e))
						return nil
					})
				}
				return nil
			})
		}
	}
	i := slices.IndexFunc(chains, func(c firewall.Chain) bool {
		return !c.Legacy && c.Family == t.family && c.Table == table && c.Name == chain
	})
	if i >= 0 {
		chains[i].Rules = append(chains[i].Rules, rule)
	}
	return ad.Err()
}

// An nftAttributes is the data of one expression, by attribute.
type nftAttributes map[uint16][]byte

func attributesOf(data []byte) nftAttributes {
	list, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		return nil
	}
	a := nftAttributes{}
	for _, x := range list {
		a[x.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = x.Data
	}
	return a
}

// number is an attribute in network byte order, as nftables has them.
func (a nftAttributes) number(key uint16) uint32 {
	if len(a[key]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[key])
}

// value is the data in an attribute (NFTA_DATA_VALUE).
func (a nftAttributes) value(key uint16) []byte { return attributesOf(a[key])[unix.NFTA_DATA_VALUE] }

// verdict is the verdict in one, if any.
func (a nftAttributes) verdict(key uint16) (firewall.Verdict, bool) {
	v, ok := attributesOf(a[key])[unix.NFTA_DATA_VERDICT]
	if !ok {
		return firewall.Verdict{}, false
	}
	inner := attributesOf(v)
	return firewall.Verdict{Code: int32(inner.number(unix.NFTA_VERDICT_CODE)), Chain: nlenc.String(inner[unix.NFTA_VERDICT_CHAIN])}, true
}

func readExpr(ad *netlink.AttributeDecoder) firewall.Expr {
	var name string
	var a nftAttributes
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			name = ad.String()
		case unix.NFTA_EXPR_DATA:
			a = attributesOf(ad.Bytes())
		}
	}
	return exprOf(name, a)
}
