// Package nft reads and writes nftables: the table of each tunnel, which is replaced in one
// transaction, and what the host's own tables do with packets.
package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	mdlayher "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/linux/nlmsg"
	"wgkeys/keyring/fault"
)

// Look counts the rules in the tunnel's table, and reports whether its chains and rules
// differ from want. If want is nil, they are not compared.
func Look(name string, want *apply.Filter) (rules int, differs bool, err error) {
	nft, err := open()
	if err != nil {
		return 0, false, err
	}
	table, err := nft.ListTableOfFamily(apply.FilterTable(name), nftables.TableFamilyINet)
	if err != nil || table == nil {
		return 0, false, notThere(err)
	}
	chains, err := nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return 0, false, err
	}
	var have []string
	for _, c := range chains {
		if c.Table.Name != table.Name {
			continue
		}
		list, err := nft.GetRules(table, c)
		if err != nil {
			return 0, false, err
		}
		rules += len(list)
		found := &chain{Chain: c}
		for _, r := range list {
			found.rules = append(found.rules, r.Exprs)
		}
		have = append(have, found.String())
	}
	return rules, want != nil && !same(have, newFilter(want).spelled()), nil
}

// Has reports whether the tunnel's table is there, whatever is in it.
func Has(name string) (bool, error) {
	nft, err := open()
	if err != nil {
		return false, err
	}
	table, err := nft.ListTableOfFamily(apply.FilterTable(name), nftables.TableFamilyINet)
	return err == nil && table != nil, notThere(err)
}

func same(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// notThere returns nil for the errors that mean that there is no such table, or no nftables
// at all: EPROTONOSUPPORT without nfnetlink, EINVAL with nfnetlink but without nf_tables,
// as where only conntrack is loaded (nfnetlink_rcv_msg).
func notThere(err error) error {
	for _, fine := range []unix.Errno{unix.ENOENT, unix.EPERM, unix.EPROTONOSUPPORT, unix.EINVAL} {
		err = nlmsg.Ignore(err, fine)
	}
	return err
}

// Set replaces the table of a link, or removes it if want is nil. It is one transaction, so
// no packet sees an empty table.
func Set(link string, want *apply.Filter) error {
	nft, err := open()
	if err != nil {
		return noTable(link, want, err)
	}
	table := &nftables.Table{Name: apply.FilterTable(link), Family: nftables.TableFamilyINet}
	nft.AddTable(table) // so that there is one to delete
	nft.DelTable(table)
	if want != nil {
		nft.AddTable(table)
		newFilter(want).add(nft, table)
	}
	if err := nft.Flush(); err != nil {
		return noTable(link, want, err)
	}
	return nil
}

// noTable explains why the table cannot be made. A kernel that lacks a module of nftables
// answers ENOENT, which reads like a missing file; one without nftables answers EOPNOTSUPP
// (nfnetlink_rcv_batch). There is no table to remove there either.
func noTable(link string, want *apply.Filter, err error) error {
	switch {
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPROTONOSUPPORT):
		return nlmsg.Reason(err)
	case want == nil:
		return nil
	}
	return fault.Wrap(nlmsg.Reason(err), "this kernel lacks what it takes for the nftables table", apply.FilterTable(link),
		"modprobe -a nf_tables nft_ct nft_fib_inet nft_masq; a container has the modules of its host")
}

// A filter is the chains and rules of one table.
type filter struct {
	*apply.Filter
	chains []*chain
}

type chain struct {
	*nftables.Chain
	rules [][]expr.Any
}

func (f *filter) add(nft *nftables.Conn, table *nftables.Table) {
	for _, c := range f.chains {
		c.Table = table
		nft.AddChain(c.Chain)
		for _, r := range c.rules {
			nft.AddRule(&nftables.Rule{Table: table, Chain: c.Chain, Exprs: r})
		}
	}
}

// spelled returns the chains in the form of [chain.String], to compare them with the
// kernel's.
func (f *filter) spelled() (list []string) {
	for _, c := range f.chains {
		list = append(list, c.String())
	}
	return list
}

// String returns all that affects packets, in a form that can be compared. The kernel
// returns a chain's policy, where ours leave it out: it is to accept.
func (c *chain) String() string {
	var b strings.Builder
	fmt.Fprint(&b, c.Name, " ", c.Type)
	if c.Hooknum != nil && c.Priority != nil {
		fmt.Fprint(&b, " ", *c.Hooknum, " ", *c.Priority)
	}
	if c.Policy != nil && *c.Policy != nftables.ChainPolicyAccept {
		fmt.Fprint(&b, " policy ", *c.Policy)
	}
	for _, rule := range c.rules {
		fmt.Fprintln(&b)
		for _, e := range rule {
			switch x := e.(type) {
			case *expr.Counter:
				e = &expr.Counter{} // the counts do not matter
			case *expr.Ct:
				e = &expr.Ct{Key: x.Key} // package nftables does not read the rest
			case *expr.Socket:
				continue // package nftables does not read it at all
			}
			fmt.Fprintf(&b, "%T%+v ", e, e)
		}
	}
	return b.String()
}

func newFilter(want *apply.Filter) *filter {
	f := &filter{Filter: want}
	if f.Isolate {
		chain := f.chain("peers", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
		chain.rule(thisLink(expr.MetaKeyIIFNAME, f.Link), thisLink(expr.MetaKeyOIFNAME, f.Link),
			exprs(&expr.Verdict{Kind: expr.VerdictDrop}))
	}
	if f.Masquerade != nil || f.Tunnel != nil {
		f.addMasquerading()
	}
	if f.Guard != nil {
		f.addGuard()
	}
	if f.Mark.Value != 0 {
		f.addAnswers()
	}
	if f.Redirect != (apply.Redirect{}) {
		f.addRedirect()
	}
	return f
}

// addMasquerading adds the chain for masquerading. It is not called "masquerade", because
// nft(8) could not read its own listing of a chain of that name.
func (f *filter) addMasquerading() {
	chain := f.chain("masquerading", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	for _, source := range f.Masquerade {
		if f.By == nil {
			chain.rule(fromPrefix(source), otherLink(expr.MetaKeyOIFNAME, append([]string{f.Link}, f.Inner...)...),
				exprs(&expr.Masq{}))
		}
		for _, uplink := range f.By {
			chain.rule(fromPrefix(source), thisLink(expr.MetaKeyOIFNAME, uplink), exprs(&expr.Masq{}))
		}
	}
	for _, own := range f.TunnelAddrs() {
		chain.rule(otherSource(own), thisLink(expr.MetaKeyOIFNAME, f.Link), otherLink(expr.MetaKeyIIFNAME, f.Link),
			exprs(&expr.Masq{}))
	}
}

func (f *filter) chain(name string, kind nftables.ChainType, hook *nftables.ChainHook,
	priority *nftables.ChainPriority) *chain {
	c := &chain{Chain: &nftables.Chain{Name: name, Type: kind, Hooknum: hook, Priority: priority}}
	f.chains = append(f.chains, c)
	return c
}

func (c *chain) rule(parts ...[]expr.Any) { c.rules = append(c.rules, slices.Concat(parts...)) }

func exprs(e ...expr.Any) []expr.Any { return e }

// fromPrefix matches packets whose source lies within p (RFC 791, RFC 8200).
func fromPrefix(p netip.Prefix) []expr.Any {
	if p.Addr().Is4() {
		return inPrefix(p, 12)
	}
	return inPrefix(p, 8)
}

// toPrefix matches packets whose destination lies within p (RFC 791, RFC 8200).
func toPrefix(p netip.Prefix) []expr.Any {
	if p.Addr().Is4() {
		return inPrefix(p, 16)
	}
	return inPrefix(p, 24)
}

// inPrefix matches packets of p's family whose address at an offset of the header lies
// within p.
func inPrefix(p netip.Prefix, offset uint32) []expr.Any {
	proto := byte(unix.NFPROTO_IPV6)
	if p.Addr().Is4() {
		proto = unix.NFPROTO_IPV4
	}
	n := uint32(p.Addr().BitLen() / 8)
	return exprs(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
			Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	)
}

// otherSource matches packets of the addresses' family whose source is none of them.
func otherSource(addrs []netip.Addr) []expr.Any {
	of := fromPrefix(netip.PrefixFrom(addrs[0], 0))
	match := of[:3] // the family, and the source loaded
	for _, a := range addrs {
		match = append(match, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: a.AsSlice()})
	}
	return match
}

// otherLink matches packets that use none of the interfaces.
func otherLink(key expr.MetaKey, links ...string) []expr.Any {
	match := exprs(&expr.Meta{Key: key, Register: 1})
	for _, link := range links {
		match = append(match, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: ifname(link)})
	}
	return match
}

// notLocal matches packets whose source is not an address of this host.
func notLocal() []expr.Any {
	return exprs(
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagSADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	)
}

func udp() []expr.Any {
	return exprs(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
	)
}

// open connects to nftables, with error messages of the kernel (NETLINK_EXT_ACK).
func open() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *mdlayher.Conn) error {
		return c.SetOption(mdlayher.ExtendedAcknowledge, true)
	}))
}
