package linux

import (
	"context"
	"errors"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"wgkeys/deploy/apply"
)

// redirectChain comes before conntrack (-200), and has nothing of it: with the
// translation of replies that NAT has, peers would never see the new port.
const redirectChain = "old-port"

// addRedirect takes what comes to the old port to the new one where somebody
// listens there, and else leaves it: the kernel opens the new sockets before it
// closes the old ones (wg_socket_reinit), but the old ones are deaf some
// milliseconds before they are gone (udp_tunnel_sock_release).
func (f *filter) addRedirect() {
	r := f.Redirect
	chain := f.chain(redirectChain, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	count := exprs(&expr.Counter{})
	chain.rule(udpTo(r.From), noChecksum(), count, setPort(r.To, 0))
	chain.rule(udpTo(r.From), count, setPort(r.To, expr.CsumTypeInet))
	chain.rule(udpTo(r.To), exprs(
		&expr.Socket{Key: expr.SocketKeyWildcard, Register: 1}, // no match without a socket
		&expr.Verdict{Kind: expr.VerdictAccept}))
	chain.rule(udpTo(r.To), noChecksum(), setPort(r.From, 0))
	chain.rule(udpTo(r.To), setPort(r.From, expr.CsumTypeInet))
}

// udpTo matches packets to a port of this host: a router's others pass.
func udpTo(port int) []expr.Any {
	return append(udp(),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // RFC 768
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	)
}

// noChecksum matches what was sent without one, which has to stay so (RFC 768).
func noChecksum() []expr.Any {
	return exprs(
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 6, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 0}},
	)
}

// setPort writes the port, and where sum says so the checksum.
func setPort(port int, sum expr.PayloadCsumType) []expr.Any {
	write := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1,
		Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, CsumType: sum}
	if sum != 0 {
		write.CsumOffset = 6
	}
	return exprs(&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))}, write)
}

// redirects reports whether the kernel has all that a redirect takes.
func redirects(link string) bool {
	return trial(link, &apply.Filter{Redirect: apply.Redirect{From: 1, To: 2}})
}

// trial tells the kernel to make a table, in a transaction that ends with an error,
// so that nothing comes of it.
func trial(link string, f *apply.Filter) bool {
	nft, err := openNFT()
	if err != nil {
		return false
	}
	table := &nftables.Table{Name: apply.FilterTable(link) + "-trial", Family: nftables.TableFamilyINet}
	nft.AddTable(table)
	newFilter(f).add(nft, table)
	nft.CreateTable(table) // which there is
	err = nft.Flush()
	return errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP)
}

// follow waits until nothing has come to the old port for a while, and has all
// peers hear from the new one meanwhile.
func (k *Kernel) follow(ctx context.Context, link string) error {
	const round, rounds, still = 100 * time.Millisecond, 50, 3
	last, quiet := uint64(0), 0
	for range rounds {
		if err := k.nudge(link); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(round):
		}
		n, err := redirected(link)
		if err != nil {
			return err
		}
		if quiet++; n != last {
			last, quiet = n, 0
		}
		if quiet == still {
			return nil
		}
	}
	return nil // they follow with the first packet that the host sends them
}

// redirected counts the packets that came to the old port.
func redirected(link string) (n uint64, err error) {
	nft, err := openNFT()
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

// nudge sends each peer that has a session an empty packet, from which it learns
// our port. Turning keepalive on does (set_peer in the kernel's netlink.c,
// handlePostConfig in wireguard-go's uapi.go), also where it was on before.
func (k *Kernel) nudge(link string) error {
	d, err := k.wg.Device(link)
	if err != nil {
		return gone(err)
	}
	const session = 180 * time.Second // REJECT_AFTER_TIME
	var other, as []wgtypes.PeerConfig
	for i := range d.Peers {
		p := &d.Peers[i]
		if time.Since(p.LastHandshakeTime) > session {
			continue
		}
		wanted, opposite := p.PersistentKeepaliveInterval, time.Duration(0)
		if wanted == 0 {
			opposite = 25 * time.Second
		}
		other = append(other, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &opposite})
		as = append(as, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &wanted})
	}
	if err := k.configure(link, other); err != nil {
		return err
	}
	return k.configure(link, as)
}
