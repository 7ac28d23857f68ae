package turn

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A hold keeps the packets that go into an interface before they reach it, and
// lets them go in their order: more of them than WireGuard's own queue takes.
//
// It is a queue of nfnetlink_queue that nobody decides on. The queue is open from
// the beginning; begin adds the one nftables rule that leads to it. The rule says
// "bypass" and the queue belongs to a socket: if this process dies the packets
// flow again. A qdisc (sch_plug) would do the same, but to set one takes the
// device down for a moment (dev_deactivate), which loses what is sent then, and it
// would stay shut if its owner died.
type hold struct {
	conn    *netlink.Conn
	table   *nftables.Table
	chain   *nftables.Chain
	number  uint16
	link    string
	portion uint32        // packets let go each millisecond
	queued  atomic.Uint32 // packets that have come into the queue; the kernel numbers them from 1
	begun   bool
	closed  atomic.Bool
}

// From linux/netfilter/nfnetlink_queue.h.
const (
	nfqnlMsgConfig       = unix.NFNL_SUBSYS_QUEUE<<8 | 2
	nfqnlMsgVerdictBatch = unix.NFNL_SUBSYS_QUEUE<<8 | 3
	nfqaVerdictHdr       = 2
	nfqaCfgCmd           = 1
	nfqaCfgParams        = 2
	nfqaCfgQueueMaxlen   = 3
	nfqaCfgMask          = 4
	nfqaCfgFlags         = 5
	nfqnlCfgCmdBind      = 1
	nfqnlCopyMeta        = 1
	nfqaCfgFailOpen      = 1
	nfqaCfgGSO           = 4
	nfAccept             = 1
)

const (
	// queueLength is how many packets can be held: those of half a second at
	// 100,000 a second. What comes on top flows on and waits in WireGuard's queue.
	queueLength = 50_000

	// kernelPortion and userPortion are how many packets are let go each
	// millisecond. The kernel encrypts in a queue of 1024 (MAX_QUEUED_PACKETS); a
	// device in user space reads from one of 500 (TUN_READQ_SIZE in tun.c), and has
	// to wait for its turn. letGo is for how long at most.
	kernelPortion = 64
	userPortion   = 16
	letGo         = 200 * time.Millisecond

	firstQueue = 30567 // as good as any: 0x7767, "wg"
)

func holdTable(link string) *nftables.Table {
	return &nftables.Table{Name: "wgkeys-hold-" + link, Family: nftables.TableFamilyINet}
}

// newHold makes everything ready. It fails where the kernel cannot hold packets.
func newHold(link string, inKernel bool) (*hold, error) {
	h, err := tryHold(link)
	if err != nil {
		return nil, err
	}
	if h.portion = userPortion; inKernel {
		h.portion = kernelPortion
	}
	if err := h.hook(); err != nil {
		h.close()
		return nil, err
	}
	go h.count()
	return h, nil
}

// tryHold opens the queue and proves that the kernel knows the rule, without a
// chain that packets pass: when a chain is taken away the kernel drops what waits
// in any queue, another program's too (nf_queue_nf_hook_drop).
func tryHold(link string) (*hold, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(64 << 20)
	h := &hold{conn: conn, link: link, number: firstQueue}
	for ; h.number < firstQueue+64; h.number++ { // another program may have one
		if err = h.bind(); err == nil {
			break
		}
	}
	if err == nil {
		err = h.prepare()
	}
	if err != nil {
		h.close()
		return nil, fmt.Errorf("packets cannot be held: %w", err)
	}
	return h, nil
}

// canHold tries whether packets can be held on this host.
func canHold(link string) bool {
	h, err := tryHold(link)
	if err != nil {
		return false
	}
	h.close()
	return true
}

func (h *hold) bind() error {
	be := binary.BigEndian.AppendUint32
	data, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: nfqaCfgCmd, Data: []byte{nfqnlCfgCmdBind, 0, 0, 0}},
		{Type: nfqaCfgParams, Data: append(be(nil, 0), nfqnlCopyMeta)},
		{Type: nfqaCfgQueueMaxlen, Data: be(nil, queueLength)},
		{Type: nfqaCfgMask, Data: be(nil, nfqaCfgFailOpen|nfqaCfgGSO)},
		{Type: nfqaCfgFlags, Data: be(nil, nfqaCfgFailOpen|nfqaCfgGSO)},
	})
	if err != nil {
		return err
	}
	_, err = h.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: nfqnlMsgConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(h.header(), data...),
	})
	return err
}

// header is a struct nfgenmsg.
func (h *hold) header() []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, h.number)
}

// prepare makes the table, and the rule where no packet comes.
func (h *hold) prepare() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	h.table = holdTable(h.link)
	nft.AddTable(h.table) // so that the deletion finds one
	nft.DelTable(h.table)
	nft.AddTable(h.table)
	nft.AddRule(h.rule(nft.AddChain(&nftables.Chain{Name: "proof", Table: h.table})))
	return nft.Flush()
}

// hook makes the chain that packets pass.
func (h *hold) hook() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	h.chain = nft.AddChain(&nftables.Chain{Name: "hold", Table: h.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityLast})
	return nft.Flush()
}

func (h *hold) rule(chain *nftables.Chain) *nftables.Rule {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, h.link)
	return &nftables.Rule{Table: h.table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Queue{Num: h.number, Flag: expr.QueueFlagBypass},
	}}
}

// count reads what the kernel tells of each packet. An error is the answer to a
// verdict on an empty queue.
func (h *hold) count() {
	for {
		messages, err := h.conn.Receive()
		if err != nil && h.closed.Load() {
			return
		}
		h.queued.Add(uint32(len(messages)))
	}
}

// begin holds what is sent from now on.
func (h *hold) begin() error {
	if h.begun {
		return nil
	}
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.AddRule(h.rule(h.chain))
	h.begun = true
	return nft.Flush()
}

// end lets all packets go, in portions: WireGuard's own queue is short. Then it
// takes the rule away and lets go those that came in the meantime, and only then,
// with the queue empty, the chain.
func (h *hold) end() error {
	defer h.close()
	if !h.begun {
		return nil
	}
	end := time.Now().Add(letGo)
	for id := uint32(0); id < h.queued.Load() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		id += h.portion
		if err := h.accept(id); err != nil {
			return err
		}
	}
	err := h.removeRule()
	for range 5 {
		h.accept(1<<31 - 1)
		time.Sleep(time.Millisecond)
	}
	return err
}

// accept lets the packets up to a number go.
func (h *hold) accept(id uint32) error {
	verdict := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, nfAccept), id)
	data, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: nfqaVerdictHdr, Data: verdict}})
	if err != nil {
		return err
	}
	_, err = h.conn.Send(netlink.Message{
		Header: netlink.Header{Type: nfqnlMsgVerdictBatch, Flags: netlink.Request},
		Data:   append(h.header(), data...),
	})
	return err
}

func (h *hold) removeRule() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.FlushChain(h.chain)
	return nft.Flush()
}

func (h *hold) removeTable() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.DelTable(h.table)
	err = nft.Flush()
	h.table = nil
	return err
}

// close gives everything back; the kernel closes the queue with its socket.
func (h *hold) close() {
	if h.table != nil {
		h.removeTable()
	}
	h.closed.Store(true)
	h.conn.Close()
}

// sweepHold removes what a process that was killed left of its hold: a rule that
// leads to nobody and lets all pass.
func sweepHold(link string) {
	nft, err := nftables.New()
	if err != nil {
		return
	}
	table := holdTable(link)
	if found, err := nft.ListTableOfFamily(table.Name, table.Family); err == nil && found != nil {
		nft.DelTable(table)
		nft.Flush()
	}
}
