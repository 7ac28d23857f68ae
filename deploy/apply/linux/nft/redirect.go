package nft

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply"
)

// redirectChain comes before conntrack (-200) and rewrites ports itself. NAT would
// translate the replies back, and peers would never see the new port.
const redirectChain = "old-port"

// addRedirect sends what comes to the old port to the new one, if a socket listens there,
// and otherwise leaves it. The kernel opens the new sockets before it closes the old ones
// (wg_socket_reinit), but the old ones are deaf for some milliseconds before they are gone
// (udp_tunnel_sock_release).
func (f *filter) addRedirect() {
	r := f.Redirect
	chain := f.chain(redirectChain, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	count := exprs(&expr.Counter{})
	chain.rule(udpTo(r.From), noChecksum(), count, setPort(r.To, 0))
	chain.rule(udpTo(r.From), count, setPort(r.To, expr.CsumTypeInet))
	chain.rule(udpTo(r.To), exprs(
		&expr.Socket{Key: expr.SocketKeyWildcard, Register: 1}, // matches only if there is a socket
		&expr.Verdict{Kind: expr.VerdictAccept}))
	chain.rule(udpTo(r.To), noChecksum(), setPort(r.From, 0))
	chain.rule(udpTo(r.To), setPort(r.From, expr.CsumTypeInet))
}

// udpTo matches UDP packets to a port of this host; packets that a router forwards pass.
func udpTo(port int) []expr.Any {
	return append(udp(),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // RFC 768
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	)
}

// noChecksum matches UDP packets that were sent without a checksum and have to stay without
// one (RFC 768).
func noChecksum() []expr.Any {
	return exprs(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 6, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 0}},
	)
}

// setPort writes the destination port and, unless sum is 0, corrects the checksum.
func setPort(port int, sum expr.PayloadCsumType) []expr.Any {
	write := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1,
		Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, CsumType: sum}
	if sum != 0 {
		write.CsumOffset = 6
	}
	return exprs(&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))}, write)
}

// CanRedirect reports whether the kernel has what a redirect needs.
func CanRedirect(link string) bool {
	return trial(link, newFilter(&apply.Filter{Redirect: apply.Redirect{From: 1, To: 2}}))
}

// trial reports whether the kernel can make a table of these chains. It asks in a transaction
// that ends with an error, so that nothing is changed.
func trial(link string, f *filter) bool {
	nft, err := open()
	if err != nil {
		return false
	}
	table := &nftables.Table{Name: apply.FilterTable(link) + "-trial", Family: nftables.TableFamilyINet}
	nft.AddTable(table)
	f.add(nft, table)
	nft.CreateTable(table) // EEXIST: it was added above
	err = nft.Flush()
	return errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP)
}

// Redirected returns how many packets came to the old port.
func Redirected(link string) (n uint64, err error) {
	nft, err := open()
	if err != nil {
		return 0, err
	}
	table := &nftables.Table{Name: apply.FilterTable(link), Family: nftables.TableFamilyINet}
	rules, err := nft.GetRules(table, &nftables.Chain{Name: redirectChain, Table: table})
	for _, rule := range rules {
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return n, notThere(err)
}
