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

// Ruleset reads the chains that packets pass, and those that they jump to: those of
// nftables, which include iptables-nft's, and those of legacy iptables.
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

// readWhole reads again if the rules changed meanwhile, which the kernel counts
// (NFT_MSG_GETGEN): some old rules together with some new ones would say what neither do.
func readWhole() (firewall.Ruleset, error) {
	const tries = 5
	for range tries {
		rules, whole, err := readOnce()
		if whole || err != nil {
			return rules, err
		}
	}
	return firewall.Ruleset{}, unix.EAGAIN
}

// readOnce reports whether the rules were the same before and after they were read. An error of
// rules that changed meanwhile is none.
func readOnce() (rules firewall.Ruleset, whole bool, err error) {
	r, err := newReader()
	if err != nil {
		return rules, false, err
	}
	defer func() { r.conn.Close() }()
	before, err := r.generation()
	if err != nil {
		return rules, false, err
	}
	rules, failed := r.ruleset()
	if failed != nil { // the rest of an answer may be left on the connection
		again, err := newReader()
		if err != nil {
			return rules, false, errors.Join(failed, err)
		}
		r.conn.Close()
		r = again
	}
	after, err := r.generation()
	if err != nil || after == before {
		return rules, true, errors.Join(failed, err)
	}
	return rules, false, nil
}

// A reader asks nftables. All questions go over one connection, which takes longer to make than a
// host without rules to answer.
type reader struct{ conn *netlink.Conn }

func newReader() (reader, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	return reader{conn}, err
}

// nfgenmsg is the size in bytes of struct nfgenmsg, which precedes the attributes.
const nfgenmsg = 4

// generation returns the number of changes so far, or 0 without nftables.
func (r reader) generation() (uint32, error) {
	messages, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN),
			Flags: netlink.Request},
		Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil || len(messages) == 0 || len(messages[0].Data) < nfgenmsg {
		return 0, notThere(err)
	}
	return attributesOf(messages[0].Data[nfgenmsg:]).number(unix.NFTA_GEN_ID), nil
}

// rules reads the rules of a table into its chains. Package nftables cannot be used
// here: it leaves out expressions that it does not know, and a rule without one of its
// conditions seems to match more than it does.
func (r reader) rules(t nftTable, chains []firewall.Chain) error {
	named := map[string]*firewall.Chain{}
	for i := range chains {
		if c := &chains[i]; c.Family == t.family && c.Table == t.name {
			named[c.Name] = c
		}
	}
	return r.dump(t, unix.NFT_MSG_GETRULE, []netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: nlenc.Bytes(t.name)}},
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

// An nftAttributes has the data of attributes by their type.
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

// number returns a 32-bit attribute, which nftables sends in network byte order.
func (a nftAttributes) number(key uint16) uint32 {
	if len(a[key]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[key])
}

// value returns the data nested in an attribute (NFTA_DATA_VALUE).
func (a nftAttributes) value(key uint16) []byte { return attributesOf(a[key])[unix.NFTA_DATA_VALUE] }

// verdict returns the verdict nested in an attribute, if there is one.
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

// Translations returns the nftables tables that translate source addresses, iptables-nft's
// among them, by address family and in words for the user. Tables that cannot be read are
// left out.
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
