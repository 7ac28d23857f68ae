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

// A queue is a hold in the kernel: a queue of nfnetlink_queue without verdicts. It is open
// from the start, and Begin adds the one nftables rule that leads to it. If this process
// dies, the packets flow again, because the queue belongs to a socket and the rule says
// "bypass".
//
// The qdisc sch_plug would hold packets too, but adding it deactivates the device for a
// moment (dev_deactivate), which drops packets, and it would stay plugged if its owner
// died.
type queue struct {
	conn   *netlink.Conn
	table  *nftables.Table
	chain  *nftables.Chain
	number uint16
	link   string
	begun  time.Time
	closed atomic.Bool

	mu   sync.Mutex
	held []int // the length of each packet so far; the kernel numbers packets from 1
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
	// queueLength is how many packets can be held, half a second of 100,000 a second. Any
	// more pass, and wait in WireGuard's own queue.
	queueLength = 50_000

	// letGo is how long packets are released in portions at most.
	letGo = 2 * time.Second

	firstQueue = 30567 // as good as any: 0x7767, "wg"
)

func holdTable(link string) *nftables.Table {
	return &nftables.Table{Name: "wgkeys-hold-" + link, Family: nftables.TableFamilyINet}
}

// tryTable is the table of [Try], which must not disturb a hold that begins at that moment.
func tryTable(link string) *nftables.Table {
	return &nftables.Table{Name: fmt.Sprintf("wgkeys-try-%s-%d", link, os.Getpid()), Family: nftables.TableFamilyINet}
}

// newQueue prepares a hold. It returns an error if the kernel cannot hold packets.
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

// tryQueue opens the queue and proves that the kernel knows the rule. It makes no chain
// with a hook: when such a chain is removed, the kernel drops the packets in every queue,
// even those of other programs (nf_queue_nf_hook_drop).
func tryQueue(link string, table *nftables.Table) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(64 << 20)
	q := &queue{conn: conn, link: link, number: firstQueue}
	for ; q.number < firstQueue+64; q.number++ { // other programs may use some numbers
		if err = q.bind(); err == nil {
			break
		}
	}
	what := "nfnetlink_queue" // the kernel module to name in the error
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
		// Copy one byte of each packet; the length comes with it.
		{Type: nfqaCfgParams, Data: append(be(nil, 1), nfqnlCopyPacket)},
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

// header returns a struct nfgenmsg.
func (q *queue) header() []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, q.number)
}

// prepare makes the table, with the rule in a chain that no packet reaches.
func (q *queue) prepare(table *nftables.Table) error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	q.table = table
	nft.AddTable(q.table) // so that there is one to delete
	nft.DelTable(q.table)
	nft.AddTable(q.table)
	nft.AddRule(q.rule(nft.AddChain(&nftables.Chain{Name: "proof", Table: q.table})))
	return nft.Flush()
}

// hook adds the chain that packets pass.
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

// count reads the kernel's message for each queued packet. Errors are ignored: the kernel
// answers a verdict on an empty queue with one.
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

// length returns the length in bytes of the packet that a message is about. The message for
// a packet of one byte has no length, because the copy is the whole packet.
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

// Begin implements [Hold].
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

// End implements [Hold]. It releases the packets in portions, and removes the rule when
// none is left. The kernel takes a while for that (synchronize_rcu), during which packets
// still enter the queue. These go in portions too, or hundreds would go at once. The chain
// is removed last, when the queue is empty.
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
			q.accept(uint32(id)) // an error here is made up for below
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

// pace returns the pace at which packets came while they were held.
func (q *queue) pace() *pace.Pace {
	held, bytes := q.snapshot(), 0
	for _, n := range held {
		bytes += n
	}
	return pace.New(len(held), bytes, time.Since(q.begun))
}

// accept releases the packets up to and including number id.
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

// close removes the table and closes the socket, with which the kernel closes the queue.
func (q *queue) close() {
	if q.table != nil {
		q.removeTable()
	}
	q.closed.Store(true)
	q.conn.Close()
}

// Sweep removes the tables that a killed process left. Their rules bypass a queue that is
// gone, so they do no harm.
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

// abandoned reports whether a table is the [tryTable] of a process that has ended.
func abandoned(table, link string) bool {
	number, ok := strings.CutPrefix(table, "wgkeys-try-"+link+"-")
	pid, err := strconv.Atoi(number)
	return ok && err == nil && unix.Kill(pid, 0) == unix.ESRCH
}
