package hold

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"wgkeys/deploy/apply/linux/hold/pace"
)

// A queue is a hold in the kernel: a queue of nfnetlink_queue that nobody decides
// on. It is open from the beginning; begin adds the one nftables rule that leads to
// it. The rule says "bypass" and the queue belongs to a socket: if this process
// dies the packets flow again. A qdisc (sch_plug) would do the same, but to set one
// takes the device down for a moment (dev_deactivate), which loses what is sent
// then, and it would stay shut if its owner died.
type queue struct {
	conn   *netlink.Conn
	table  *nftables.Table
	chain  *nftables.Chain
	number uint16
	link   string
	begun  time.Time
	closed atomic.Bool

	mu   sync.Mutex
	held []int // the length of each packet that has come into the queue; the kernel numbers them from 1
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
	nfqaCapLen           = 13
	nfqnlCfgCmdBind      = 1
	nfqnlCopyPacket      = 2
	nfqaCfgFailOpen      = 1
	nfqaCfgGSO           = 4
	nfAccept             = 1
)

const (
	// queueLength is how many packets can be held: those of half a second at
	// 100,000 a second. What comes on top flows on and waits in WireGuard's queue.
	queueLength = 50_000

	// letGo is for how long packets are let go in portions, at most.
	letGo = 2 * time.Second

	firstQueue = 30567 // as good as any: 0x7767, "wg"
)

func holdTable(link string) *nftables.Table {
	return &nftables.Table{Name: "wgkeys-hold-" + link, Family: nftables.TableFamilyINet}
}

// tryTable is for who only looks whether packets can be held: a hold that begins at
// that moment keeps its own.
func tryTable(link string) *nftables.Table {
	return &nftables.Table{Name: fmt.Sprintf("wgkeys-try-%s-%d", link, os.Getpid()), Family: nftables.TableFamilyINet}
}

// newQueue makes everything ready. It fails where the kernel cannot hold packets.
func newQueue(link string) (*queue, error) {
	q, err := tryQueue(link, holdTable(link))
	if err != nil {
		return nil, err
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
func tryQueue(link string, table *nftables.Table) (*queue, error) {
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
	what := "nfnetlink_queue" // the module of the kernel that is missing, if one is
	if err == nil {
		what, err = "nft_queue", q.prepare(table)
	}
	if err != nil {
		q.close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return q, nil
}

func (q *queue) bind() error {
	be := binary.BigEndian.AppendUint32
	data, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: nfqaCfgCmd, Data: []byte{nfqnlCfgCmdBind, 0, 0, 0}},
		{Type: nfqaCfgParams, Data: append(be(nil, 1), nfqnlCopyPacket)}, // one byte, and the length of all
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
func (q *queue) prepare(table *nftables.Table) error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	q.table = table
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
		q.mu.Lock()
		for _, m := range messages {
			q.held = append(q.held, length(m.Data))
		}
		q.mu.Unlock()
	}
}

// length is that of the packet which a message tells of, in bytes. A packet of one
// byte comes whole and without a length.
func length(message []byte) int {
	const header = 4 // struct nfgenmsg
	if len(message) < header {
		return 1
	}
	attributes, err := netlink.UnmarshalAttributes(message[header:])
	if err != nil {
		return 1
	}
	for _, a := range attributes {
		if a.Type == nfqaCapLen && len(a.Data) == 4 {
			return int(binary.BigEndian.Uint32(a.Data))
		}
	}
	return 1
}

// Begin holds what is sent from now on.
func (q *queue) Begin() error {
	if !q.begun.IsZero() {
		return nil
	}
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.AddRule(q.rule(q.chain))
	q.begun = time.Now()
	return nft.Flush()
}

// End lets all packets go, in portions, and takes the rule away when none is left.
// The kernel takes its time for that (synchronize_rcu), and packets still come into
// the queue: they go on in portions, or hundreds would come at once. Only then, with
// the queue empty, the chain goes.
func (q *queue) End() error {
	defer q.close()
	if q.begun.IsZero() {
		return nil
	}
	p, id := q.pace(), 0
	var removed chan error
	remove := func() {
		removed = make(chan error, 1)
		go func() { removed <- q.removeRule() }()
	}
	last := time.Now()
	for end := last.Add(letGo); last.Before(end) && len(removed) == 0; time.Sleep(time.Millisecond) {
		held, now := q.snapshot(), time.Now()
		if id < len(held) {
			p.Elapse(now.Sub(last))
			for id < len(held) && p.Allow(held[id]) {
				id++
			}
			q.accept(uint32(id)) // what fails here the last ones make good
		}
		if last = now; id < len(held) {
			continue
		}
		if p.Reset(); removed == nil {
			remove()
		}
	}
	if removed == nil {
		remove()
	}
	err := <-removed
	for range 5 {
		err = errors.Join(err, q.accept(1<<31-1))
		time.Sleep(time.Millisecond)
	}
	return err
}

func (q *queue) snapshot() []int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}

// pace is that at which packets came while they were held.
func (q *queue) pace() *pace.Pace {
	held, bytes := q.snapshot(), 0
	for _, n := range held {
		bytes += n
	}
	return pace.New(len(held), bytes, time.Since(q.begun))
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

// Sweep removes what a process that was killed left of its hold: a rule that
// leads to nobody and lets all pass.
func Sweep(link string) {
	nft, err := nftables.New()
	if err != nil {
		return
	}
	tables, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return
	}
	for _, t := range tables {
		if t.Name == holdTable(link).Name || abandoned(t.Name, link) {
			nft.DelTable(t)
		}
	}
	nft.Flush()
}

// abandoned reports whether a table is a [tryTable] of a process that is no more.
func abandoned(table, link string) bool {
	number, ok := strings.CutPrefix(table, "wgkeys-try-"+link+"-")
	pid, err := strconv.Atoi(number)
	return ok && err == nil && unix.Kill(pid, 0) == unix.ESRCH
}
