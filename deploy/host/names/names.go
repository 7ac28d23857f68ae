// Package names keeps up what an apply has set and the world changes afterwards. It looks up
// endpoint names of a tunnel's peers again: when one could not be resolved, when there is no
// handshake with the address that is tried, and when a handshake is overdue. WireGuard itself
// knows only addresses. And it restores what goes with something else: proxy neighbours, which the
// kernel forgets with each uplink that goes down, and the tunnel's nftables table, which a flush
// of the host's own rules removes as well.
//
// It is a process, "wgkeys-names TUNNEL", which an apply of a tunnel with such peers, proxies or
// a table starts, and which a down ends. It sets only endpoints, the routing that one in a route
// of the tunnel needs, proxy neighbours with what the kernel answers for them by, and the table
// that the journal has, all of it through that journal. An apply does the same with what it sees at one moment; the
// process has a memory.
package names

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/apply/journal"
	"wgkeys/deploy/apply/linux"
	"wgkeys/deploy/host/daemon"
	"wgkeys/deploy/host/kept"
	"wgkeys/deploy/host/session"
	"wgkeys/deploy/rotate/participant"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// poll is how often the peers are looked at, unless that takes too large a share of the
// time: ten thousand take a while.
const (
	poll  = 2 * time.Second
	share = 50
)

// Process follows the names of a tunnel, and keeps its proxy neighbours and table: TUNNEL. Every program
// that may apply one passes it to [daemon.Main].
var Process = daemon.Process{Name: session.FollowerProcess, Args: 1, Run: run}

func run(args []string) error {
	f, err := newFollower(args[0])
	if err != nil {
		return err
	}
	if err := daemon.Detach(); err != nil {
		return err
	}
	f.follow(context.Background())
	return nil
}

// A follower follows the names of one tunnel.
type follower struct {
	name  string
	lock  *os.File
	k     *linux.Kernel
	view  *tunnel.View // as it was kept last
	kept  os.FileInfo  // of its file
	peers map[string]*peer

	answering answering
	table     table
}

func newFollower(name string) (*follower, error) {
	if err := tunnel.CheckName(name); err != nil {
		return nil, err
	}
	lock, err := session.LockFollower(name)
	if err != nil {
		return nil, err
	}
	k, err := linux.Open()
	return &follower{name: name, lock: lock, k: k, peers: map[string]*peer{}}, err
}

// follow returns when the process is no longer wanted.
func (f *follower) follow(ctx context.Context) {
	for f.wanted() {
		start := time.Now()
		view := f.readView()
		var device *apply.State
		if view != nil && session.HasNames(view) {
			device, _ = f.k.Peers(f.name)
		}
		cost := time.Since(start)
		if device != nil {
			f.look(ctx, view, device)
		}
		f.keepTable(ctx)
		cost += f.keepProxies(ctx, view)
		time.Sleep(max(poll, share*cost))
	}
}

// wanted reports whether the locked file is still the tunnel's.
func (f *follower) wanted() bool {
	now, err := os.Stat(session.FollowerPath(f.name))
	if err != nil {
		return false
	}
	mine, err := f.lock.Stat()
	return err == nil && os.SameFile(now, mine)
}

// busy reports whether a rotation changes the tunnel: then that decides.
func (f *follower) busy() bool { return participant.UnderWay(f.name) != nil }

// readView returns the view that was applied last. A rotation changes it, too.
func (f *follower) readView() *tunnel.View {
	now, err := os.Stat(kept.Path(f.name))
	if err != nil {
		return f.view
	}
	if f.kept == nil || !os.SameFile(f.kept, now) || !f.kept.ModTime().Equal(now.ModTime()) {
		if view, err := kept.View(f.name); err == nil && view != nil {
			f.view, f.kept, f.answering = view, now, answering{}
		}
	}
	return f.view
}

// A named is a peer whose endpoint is a name, with its state in the kernel.
type named struct {
	want *tunnel.Peer
	live *apply.Peer
	peer *peer
}

// look looks at all named peers once, and does what is necessary.
func (f *follower) look(ctx context.Context, view *tunnel.View, device *apply.State) {
	now := time.Now()
	peers := f.named(view, device)
	for _, n := range peers {
		n.peer.see(n.live, now)
	}
	f.findDead(view, device, peers)
	asked := map[string]bool{}
	for _, n := range peers {
		if n.peer.asks(n.live, now) {
			asked[n.want.Endpoint] = true
		}
	}
	if len(asked) > 0 {
		found, err := f.lookUp(ctx, view, slices.Collect(maps.Keys(asked)))
		if err != nil {
			return
		}
		now = time.Now()
		for _, n := range peers {
			if asked[n.want.Endpoint] {
				n.peer.learn(found[n.want.Endpoint].All(), now)
			}
		}
		f.findDead(view, device, peers)
	}
	f.move(ctx, view, peers, now)
}

// findDead finds the addresses of the peers to which nothing is sent. What the device does
// not send is not counted, so nothing else tells of it.
func (f *follower) findDead(view *tunnel.View, device *apply.State, peers []named) {
	var addrs []netip.AddrPort
	for _, n := range peers {
		for _, a := range append(n.peer.found, n.live.Endpoint) {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	dead, err := f.k.Dead(device, addrs)
	if err != nil {
		dead = nil // the next look asks again
	}
	for _, a := range addrs {
		if dead != nil && apply.IsInside(view, a.Addr()) {
			dead[a.Addr()] = true
		}
	}
	for _, n := range peers {
		n.peer.dead = dead
	}
}

func (f *follower) lookUp(ctx context.Context, view *tunnel.View, names []string) (map[string]apply.Endpoint, error) {
	j, err := journal.Open(linux.RunDir, view.Tunnel)
	if err != nil {
		return nil, err
	}
	return f.k.LookUp(ctx, view, j.Entries, names)
}

// named are the peers that are followed. In a rotation a peer has two keys, and uses the
// next one if that has allowed IPs.
func (f *follower) named(view *tunnel.View, device *apply.State) []named {
	live := make(map[keyring.PublicKey]*apply.Peer, len(device.Peers))
	for i := range device.Peers {
		live[device.Peers[i].PublicKey] = &device.Peers[i]
	}
	var all []named
	for i := range view.Peers {
		want := &view.Peers[i]
		if !tunnel.IsName(want.Endpoint) {
			continue
		}
		have := live[want.PublicKey]
		if next := live[want.NextPublicKey]; next != nil && len(next.AllowedIPs) > 0 {
			have = next
		}
		if have == nil {
			continue
		}
		id := have.PublicKey.String() + " " + want.Endpoint
		if f.peers[id] == nil {
			f.peers[id] = &peer{}
		}
		all = append(all, named{want, have, f.peers[id]})
	}
	return all
}

// move sets the endpoints of the peers that have to move. During a rotation the handshakes
// of that decide.
func (f *follower) move(ctx context.Context, view *tunnel.View, peers []named, now time.Time) {
	var moves []session.Move
	var moved []named
	for _, n := range peers {
		if to := n.peer.to(n.live, now); to.IsValid() {
			moves = append(moves, session.Move{Host: n.want.Name, Name: n.want.Endpoint, Was: n.live, To: to})
			moved = append(moved, n)
		}
	}
	if moves == nil {
		return
	}
	if session.MoveEndpoints(ctx, view, moves, f.busy) != nil {
		return // the next look tries it again
	}
	for _, n := range moved {
		n.peer.move(n.live, now)
	}
}
