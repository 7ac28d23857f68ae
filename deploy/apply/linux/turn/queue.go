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

// A queue is a hold in the kernel: a queue of nfnetlink_queue that nobody decides
// on. It is open from the beginning; begin adds the one nftables rule that leads to
// it. The rule says "bypass" and the queue belongs to a socket: if this process
// dies the packets flow again. A qdisc (sch_plug) would do the same, but to set one
// takes the device down for a moment (dev_deactivate), which loses what is sent
// then, and it would stay shut if its owner died.
type queue struct {
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
	letGo         = 2 * time.Second

	firstQueue = 30567 // as good as any: 0x7767, "wg"
)

func holdTable(link string) *nftables.Table {
	return &nftables.Table{Name: "wgkeys-hold-" + link, Family: nftables.TableFamilyINet}
}

// newQueue makes everything ready. It fails where the kernel cannot hold packets.
func newQueue(link string, inKernel bool) (*queue, error) {
	q, err := tryQueue(link)
	if err != nil {
		return nil, err
	}
	if q.portion = userPortion; inKernel {
		q.portion = kernelPortion
	}
	if err := q.hook(); err != nil {
		q.close()
		return nil, err
	}
	go q.count()
	return q, nil
}

// tryQueue opens the queue and proves that the kernel knows the rule, without a
// chain that packets pass: when a chain is taken away the kernel drops what waits
// in any queue, another program's too (nf_queue_nf_hook_drop).
func tryQueue(link string) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(64 << 20)
	q := &queue{conn: conn, link: link, number: firstQueue}
	for ; q.number < firstQueue+64; q.number++ { // another program may have one
		if err = q.bind(); err == nil {
			break
		}
	}
	if err == nil {
		err = q.prepare()
	}
	if err != nil {
		q.close()
		return nil, fmt.Errorf("packets cannot be held: %w", err)
	}
	return q, nil
}

func (q *queue) bind() error {
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
	_, err = q.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: nfqnlMsgConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(q.header(), data...),
	})
	return err
}

// header is a struct nfgenmsg.
func (q *queue) header() []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, q.number)
}

// prepare makes the table, and the rule where no packet comes.
func (q *queue) prepare() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	q.table = holdTable(q.link)
	nft.AddTable(q.table) // so that the deletion finds one
	nft.DelTable(q.table)
	nft.AddTable(q.table)
	nft.AddRule(q.rule(nft.AddChain(&nftables.Chain{Name: "proof", Table: q.table})))
	return nft.Flush()
}

// hook makes the chain that packets pass.
func (q *queue) hook() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	q.chain = nft.AddChain(&nftables.Chain{Name: "hold", Table: q.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityLast})
	return nft.Flush()
}

func (q *queue) rule(chain *nftables.Chain) *nftables.Rule {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, q.link)
	return &nftables.Rule{Table: q.table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Queue{Num: q.number, Flag: expr.QueueFlagBypass},
	}}
}

// count reads what the kernel tells of each packet. An error is the answer to a
// verdict on an empty queue.
func (q *queue) count() {
	for {
		messages, err := q.conn.Receive()
		if err != nil && q.closed.Load() {
			return
		}
		q.queued.Add(uint32(len(messages)))
	}
}

// begin holds what is sent from now on.
func (q *queue) begin() error {
	if q.begun {
		return nil
	}
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.AddRule(q.rule(q.chain))
	q.begun = true
	return nft.Flush()
}

// end lets all packets go, in portions: WireGuard's own queue is short. Then it
// takes the rule away and lets go those that came in the meantime, and only then,
// with the queue empty, the chain.
func (q *queue) end() error {
	defer q.close()
	if !q.begun {
		return nil
	}
	end := time.Now().Add(letGo)
	for id := uint32(0); id < q.queued.Load() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		id += q.portion
		if err := q.accept(id); err != nil {
			return err
		}
	}
	err := q.removeRule()
	for range 5 {
		q.accept(1<<31 - 1)
		time.Sleep(time.Millisecond)
	}
	return err
}

// accept lets the packets up to a number go.
func (q *queue) accept(id uint32) error {
	verdict := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, nfAccept), id)
	data, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: nfqaVerdictHdr, Data: verdict}})
	if err != nil {
		return err
	}
	_, err = q.conn.Send(netlink.Message{
		Header: netlink.Header{Type: nfqnlMsgVerdictBatch, Flags: netlink.Request},
		Data:   append(q.header(), data...),
	})
	return err
}

func (q *queue) removeRule() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.FlushChain(q.chain)
	return nft.Flush()
}

func (q *queue) removeTable() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.DelTable(q.table)
	err = nft.Flush()
	q.table = nil
	return err
}

// close gives everything back; the kernel closes the queue with its socket.
func (q *queue) close() {
	if q.table != nil {
		q.removeTable()
	}
	q.closed.Store(true)
	q.conn.Close()
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
