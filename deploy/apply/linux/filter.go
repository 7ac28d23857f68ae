package linux

import (
	"context"
	"errors"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// observeFilter looks at the tunnel's nftables table, where the view or the
// journal speaks of one.
func observeFilter(name string, view *tunnel.View, s *apply.State, journal apply.Entries) (err error) {
	_, made := journal["filter "+name]
	moves := view != nil && s.Device.ListenPort != 0 && view.ListenPort != 0 && view.ListenPort != s.Device.ListenPort
	s.Redirects = moves && redirects(name)
	if made || moves || view != nil && (view.Masquerade != nil || mayCapture(view)) {
		s.FilterRules, err = countRules(name)
	}
	return err
}

func countRules(name string) (int, error) {
	nft, err := nftables.New()
	if err != nil {
		return 0, err
	}
	table, err := nft.ListTableOfFamily(apply.FilterTable(name), nftables.TableFamilyINet)
	if err != nil || table == nil {
		return 0, notThere(err)
	}
	chains, err := nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, chain := range chains {
		if chain.Table.Name != table.Name {
			continue
		}
		rules, err := nft.GetRules(table, chain)
		if err != nil {
			return 0, err
		}
		count += len(rules)
	}
	return count, nil
}

// notThere forgives that there is no such table, or no nftables at all.
func notThere(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil
	}
	return err
}

// setFilter replaces the whole table in one transaction: no packet sees it
// empty.
func (k *Kernel) setFilter(ctx context.Context, c apply.FilterChange) error {
	if old := c.Old.PortRedirect(); old != (apply.Redirect{}) && old != c.New.PortRedirect() {
		if err := k.follow(ctx, c.Link); err != nil {
			return err
		}
	}
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: apply.FilterTable(c.Link), Family: nftables.TableFamilyINet}
	nft.AddTable(table) // so that the deletion finds one
	nft.DelTable(table)
	if c.New != nil {
		nft.AddTable(table)
		(&filter{nft, table, c.New}).add()
	}
	if err := nft.Flush(); err != nil {
		return err
	}
	if c.New != nil && c.New.Mark != 0 && (c.Old == nil || c.Old.Mark != c.New.Mark) {
		return k.nudge(c.Link) // a connection has its mark from what is sent on it
	}
	return nil
}

// A filter adds the chains and rules of one table.
type filter struct {
	nft   *nftables.Conn
	table *nftables.Table
	*apply.Filter
}

func (f *filter) add() {
	if f.Masquerade != nil {
		chain := f.chain("masquerade", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
		for _, source := range f.Masquerade {
			f.rule(chain, prefix(source, true), otherLink(expr.MetaKeyOIFNAME, f.Link), exprs(&expr.Masq{}))
		}
	}
	if f.Guard != nil {
		chain := f.chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
		for _, addr := range f.Guard {
			f.rule(chain, prefix(netip.PrefixFrom(addr, addr.BitLen()), false), otherLink(expr.MetaKeyIIFNAME, f.Link),
				notLocal(), exprs(&expr.Verdict{Kind: expr.VerdictDrop}))
		}
	}
	if f.Mark != 0 {
		save := f.chain("save-mark", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, nftables.ChainPriorityMangle)
		f.rule(save, udp(), hasMark(f.Mark), exprs(
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}))
		restore := f.chain("restore-mark", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
		f.rule(restore, udp(), exprs(
			&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}))
		if f.Redirect != (apply.Redirect{}) { // whose connection has its mark from the first answer on
			f.rule(restore, udpTo(f.Redirect.To), exprs(
				&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(f.Mark)},
				&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}))
		}
	}
	if f.Redirect != (apply.Redirect{}) {
		f.addRedirect()
	}
}

func (f *filter) chain(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return f.nft.AddChain(&nftables.Chain{Name: name, Table: f.table, Type: kind, Hooknum: hook, Priority: priority})
}

func (f *filter) rule(chain *nftables.Chain, parts ...[]expr.Any) {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	f.nft.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: all})
}

func exprs(e ...expr.Any) []expr.Any { return e }

// prefix matches packets from, or to, the addresses of p.
func prefix(p netip.Prefix, source bool) []expr.Any {
	proto, offset := byte(unix.NFPROTO_IPV6), uint32(24) // of the destination, RFC 8200
	if source {
		offset = 8
	}
	if p.Addr().Is4() {
		proto, offset = unix.NFPROTO_IPV4, 16 // RFC 791
		if source {
			offset = 12
		}
	}
	n := uint32(p.Addr().BitLen() / 8)
	return exprs(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: netOf(p).Mask, Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	)
}

// otherLink matches packets that use any interface but link.
func otherLink(key expr.MetaKey, link string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return exprs(
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
	)
}

// notLocal matches packets whose source is no address of this host.
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

func hasMark(mark uint32) []expr.Any {
	return exprs(
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
	)
}
