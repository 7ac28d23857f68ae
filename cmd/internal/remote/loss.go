package remote

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"wgkeys/cmd/internal/ui"
)

// Handshakes and pings are small. If a tunnel's packets are too large for a link on the
// way, and the sender is not told, handshakes succeed and nothing else passes: one end
// sends what the other does not receive.

// fewBytes is less than what is examined, in bytes: the ends are not asked at the same
// moment.
const fewBytes = 64 << 10

// handshakes is more than the bytes of a few handshakes and keepalives: one host has sent
// what the other has not received yet, and every 15 s there are new ones.
const handshakes = 2 << 10

// A loss is traffic from one host to another that may not arrive.
type loss struct {
	from, to       *HostStatus
	sent, received int64 // then, in bytes
}

// lost returns how much was sent by one host and received by the other, and whether that
// looks like a loss: most of it is missing, and the other direction agrees, so both
// counters began at the same time.
func lost(from, to *HostStatus) (loss, bool) {
	out, in := from.answer.Live.Peers[to.Live], to.answer.Live.Peers[from.Live]
	l := loss{from, to, out.Sent, in.Received}
	agrees := in.Sent-out.Received <= out.Received/4+handshakes && out.Received > 0
	return l, agrees && l.sent-l.received > fewBytes && l.received < l.sent/2
}

// findLosses looks again if it looks like a loss, and reports what is lost now.
func (q *Survey) findLosses(ctx context.Context, all []*HostStatus) {
	hosts := map[farEnd]*HostStatus{}
	for _, s := range all {
		hosts[farEnd{s.Tunnel, s.Host}] = s
	}
	var losses []loss
	for _, s := range all {
		if s.Err != nil || s.Live.IsZero() || s.Rotation != "" {
			continue
		}
		for i := range s.view.Peers {
			to := hosts[farEnd{s.Tunnel, s.view.Peers[i].Name}]
			if to == nil || to.Err != nil || to.Live.IsZero() {
				continue
			}
			if l, ok := lost(s, to); ok {
				losses = append(losses, l)
			}
		}
	}
	if losses == nil {
		return
	}
	later := q.lookLater(ctx, losses)
	for _, l := range losses {
		if now, ok := stillLost(l, later[l.from], later[l.to]); ok {
			l.from.Findings = append(l.from.Findings,
				fmt.Sprintf("of %s sent to %s in the last seconds %s arrived; the rest is lost on the way, and may be too large for a link there: "+
					"on %s, ping -M do -s 1472 %s, then set mtu for both hosts to what passes less 32", ui.InBytes(now.sent), l.to.Host,
					ui.InBytes(now.received),
					l.from.Host, outsideOf(l.from.answer.Live.Peers[l.to.Live].Endpoint)))
		}
	}
}

// stillLost compares the counters of two looks.
func stillLost(l loss, from, to *HostStatus) (loss, bool) {
	if from == nil || to == nil || from.Err != nil || to.Err != nil {
		return l, false
	}
	l.sent = from.answer.Live.Peers[l.to.Live].Sent - l.sent
	l.received = to.answer.Live.Peers[l.from.Live].Received - l.received
	const some = 1000 // in bytes: one large packet that is sent again
	return l, l.sent >= some && l.received < l.sent/2
}

// lookLater asks the ends of all losses once more.
func (q *Survey) lookLater(ctx context.Context, losses []loss) map[*HostStatus]*HostStatus {
	later := map[*HostStatus]*HostStatus{}
	for _, l := range losses {
		for _, s := range []*HostStatus{l.from, l.to} {
			later[s] = &HostStatus{Host: s.Host, Tunnel: s.Tunnel, tunnel: s.tunnel}
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(doubtFor):
	}
	var asked errgroup.Group
	asked.SetLimit(q.Jobs)
	for _, now := range later {
		asked.Go(func() error {
			now.Err = q.lookAt(ctx, now)
			return nil
		})
	}
	asked.Wait()
	return later
}
