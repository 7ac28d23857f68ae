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
	rules.SourceNAT = rules.SourceNAT || slices.ContainsFunc(chains, func(c firewall.Chain) bool { return c.NAT })
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

// readRules reads the rules of a table into its chains. Package nftables leaves out
// the expressions that it does not know, and a rule without one of its conditions
// would match what it does not.
func readRules(t nftTable, chains []firewall.Chain) error {
	named := map[string]*firewall.Chain{}
	for i := range chains {
		if c := &chains[i]; c.Family == t.family && c.Table == t.name {
			named[c.Name] = c
		}
	}
	return t.dump(unix.NFT_MSG_GETRULE, []netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: nlenc.Bytes(t.name)}},
		func(_ byte, data []byte) error {
			chain, rule, err := readRule(data)
			if c := named[chain]; c != nil && err == nil {
				c.Rules = append(c.Rules, rule)
			}
			return err
		})
}

func readRule(data []byte) (chain string, rule firewall.Rule, err error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return "", nil, err
	}
	for ad.Next() {
		switch ad.Type() {
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
	return chain, rule, ad.Err()
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
