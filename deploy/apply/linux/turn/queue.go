package turn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
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
	conn   *netlink.Conn
	table  *nftables.Table
	chain  *nftables.Chain
	number uint16
	link   string
	begun  time.Time
	closed atomic.Bool

	mu   sync.Mutex
	held []int // bytes up to each packet that has come into the queue; the kernel numbers them from 1
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

	// leastPackets and leastBytes are let go each millisecond, or faster than they came
	// by the factor hasten. The path between the hosts and their processors bear what
	// they carry anyway and not much more; the kernel encrypts and decrypts in queues of
	// 1024 (MAX_QUEUED_PACKETS) and drops what comes on top without counting it; and one
	// packet here may be 64 there (GSO). A program that was stopped by what is held sends
	// more again when it goes: by the factor grow each millisecond it goes faster, so
	// that it comes to an end. letGo is for how long at most.
	leastPackets = 16
	leastBytes   = 24_000
	hasten       = 1.5
	grow         = 1 + 1./128
	letGo        = 2 * time.Second

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
	if err == nil {
		err = q.prepare(table)
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
			total := length(m.Data)
			if n := len(q.held); n > 0 {
				total += q.held[n-1]
			}
			q.held = append(q.held, total)
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

// begin holds what is sent from now on.
func (q *queue) begin() error {
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

// end lets all packets go, in portions, and takes the rule away when none is left.
// The kernel takes its time for that (synchronize_rcu), and packets still come into
// the queue: they go on in portions, or hundreds would come at once. Only then, with
// the queue empty, the chain goes.
func (q *queue) end() error {
	defer q.close()
	if q.begun.IsZero() {
		return nil
	}
	p, id := q.pace(time.Since(q.begun)), 0
	var removed chan error
	remove := func() {
		removed = make(chan error, 1)
		go func() { removed <- q.removeRule() }()
	}
	last := time.Now()
	for end := last.Add(letGo); last.Before(end) && len(removed) == 0; time.Sleep(time.Millisecond) {
		held, now := q.snapshot(), time.Now()
		if id < len(held) {
			id = p.next(id, held, now.Sub(last))
			q.accept(uint32(id)) // what fails here the last ones make good
		}
		if last = now; id == len(held) && removed == nil {
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

// A pace is how fast packets are let go.
type pace struct {
	packets, bytes float64 // a millisecond
	due            float64 // packets that may go still, and bytes
	dueBytes       float64
}

// pace is that at which packets came in so long a time, and somewhat more.
func (q *queue) pace(in time.Duration) *pace {
	held, ms := q.snapshot(), max(1, float64(in)/float64(time.Millisecond))
	p := &pace{packets: leastPackets, bytes: leastBytes}
	if n := len(held); n > 0 {
		p.packets, p.bytes = max(p.packets, hasten*float64(n)/ms), max(p.bytes, hasten*float64(held[n-1])/ms)
	}
	return p
}

// next returns the number of the last packet that may go now, after the one
// numbered id, so long after that: one at least. There are more. A program that was
// kept from running does not make good for all of it at once.
func (p *pace) next(id int, held []int, after time.Duration) int {
	ms := min(max(1, float64(after)/float64(time.Millisecond)), 8)
	faster := math.Pow(grow, ms)
	p.packets, p.bytes = p.packets*faster, p.bytes*faster
	p.due, p.dueBytes = p.due+p.packets*ms, p.dueBytes+p.bytes*ms
	gone := 0
	if id > 0 {
		gone = held[id-1]
	}
	fit, _ := slices.BinarySearch(held, gone+int(p.dueBytes)+1)
	to := min(max(fit, id+1), max(id+int(p.due), id+1), len(held))
	p.due, p.dueBytes = max(0, p.due-float64(to-id)), max(0, p.dueBytes-float64(held[to-1]-gone))
	if to == len(held) { // what is left of it is not for those that come later
		p.due, p.dueBytes = 0, 0
	}
	return to
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
