package nft

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/firewall"
	"wgkeys/deploy/apply/linux/xtables"
)

// Ruleset reads the chains that see packets on their way, and those that they
// jump to: nftables', which iptables-nft's are too, and those of iptables' own.
func Ruleset() (firewall.Ruleset, error) {
	rules, err := readWhole()
	if err != nil {
		return rules, err
	}
	chains, err := xtables.Chains()
	rules.Chains = append(rules.Chains, chains...)
	return rules, err
}

// readWhole reads again where the rules change between the questions, which the
// kernel counts (NFT_MSG_GETGEN): half of the old and half of the new ones would say
// what neither does.
func readWhole() (firewall.Ruleset, error) {
	const tries = 5
	for range tries {
		before, err := generation()
		if err != nil {
			return firewall.Ruleset{}, err
		}
		rules, failed := readNftables()
		after, err := generation()
		if err != nil || after == before {
			return rules, errors.Join(failed, err)
		}
	}
	return firewall.Ruleset{}, unix.EAGAIN
}

// nfgenmsg is the bytes of struct nfgenmsg, before the attributes of a message.
const nfgenmsg = 4

// generation is the number of changes so far; 0 where there is no nftables.
func generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN),
			Flags: netlink.Request},
		Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil || len(messages) == 0 || len(messages[0].Data) < nfgenmsg {
		return 0, notThere(err)
	}
	return attributesOf(messages[0].Data[nfgenmsg:]).number(unix.NFTA_GEN_ID), nil
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
	case firewall.Prerouting, firewall.Input, firewall.Forward, firewall.Output, firewall.Postrouting:
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
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | netlink.Dump},
		Data: append([]byte{byte(t.family), unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
	for _, m := range messages {
		if err == nil && len(m.Data) >= nfgenmsg {
			err = each(m.Data[nfgenmsg:])
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
	return firewall.Verdict{Code: int32(inner.number(unix.NFTA_VERDICT_CODE)),
		Chain: nlenc.String(inner[unix.NFTA_VERDICT_CHAIN])}, true
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

// Translations are the nftables tables that have packets leave under another address,
// iptables-nft's among them, by family. What cannot be read is no sign.
func Translations() (v4, v6 []string) {
	nft, err := nftables.New()
	if err != nil {
		return nil, nil
	}
	chains, err := nft.ListChains()
	if err != nil {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, c := range chains {
		family := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
			nftables.TableFamilyINet: "inet"}[c.Table.Family]
		sign := "the nftables table " + family + " " + c.Table.Name + ", which translates addresses,"
		if family == "" || strings.HasPrefix(c.Table.Name, apply.FilterTable("")) || seen[sign] {
			continue
		}
		rules, err := nft.GetRules(c.Table, c)
		if err != nil || !slices.ContainsFunc(rules, translates) {
			continue
		}
		seen[sign] = true
		if family != "ip6" {
			v4 = append(v4, sign)
		}
		if family != "ip" {
			v6 = append(v6, sign)
		}
	}
	return v4, v6
}

// translates reports whether a rule changes the source of packets.
func translates(r *nftables.Rule) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		switch e := e.(type) {
		case *expr.Masq:
			return true
		case *expr.NAT:
			return e.Type == expr.NATTypeSourceNAT
		case *expr.Target: // of iptables-nft
			return e.Name == "MASQUERADE" || e.Name == "SNAT"
		}
		return false
	})
}
