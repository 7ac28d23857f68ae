package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/demo"
	"wgkeys/cmd/internal/labtest"
	"wgkeys/deploy/lab"
	"wgkeys/deploy/tunnel"
	"wgkeys/keyring"
)

// From each view to each other one, on a tunnel in use: what apply leaves is
// what it leaves on a host without the tunnel, there is nothing more to do, and
// a stream of packets each way to a peer that stays loses none: also where the
// port changes, and the peer has to follow.
//
// It is not parallel: where a dozen laboratories want the processors at once, the
// sockets of a device that does not get to read overflow, and the loss is none of ours.
func TestLabTransitions(t *testing.T) {
	t.Run("wgkeys", func(t *testing.T) { testTransitions(t, throughWgkeys) })
}

// A tool takes shale from view to view, which lie there as files.
type tool struct {
	name            string
	begin           string                                                 // shell that starts it, if it is a service
	files           func(t *testing.T, v *tunnel.View, path string) string // shell that writes a view to path.*
	up, move, again string                                                 // shell, with view $1; again: what is left
	down            string
}

// A way there and back again brings keys back that were replaced on the way.
var throughWgkeys = tool{
	name:  "wgkeys apply",
	files: viewFile,
	up:    "wgkeys apply --unknown -q --view /root/$1.json",
	move:  "wgkeys apply --unknown --view /root/$1.json",
	again: "wgkeys plan --unknown --view /root/$1.json",
	down:  "wgkeys down -q",
}

// viewFile is shell that writes a view as wgkeys takes it.
func viewFile(t *testing.T, v *tunnel.View, path string) string {
	t.Helper()
	return "cat >" + path + ".json <<'END'\n" + encoded(t, v) + "\nEND"
}

func testTransitions(t *testing.T, with tool) {
	way := everyPair(len(transitionViews))
	switch {
	case long("transitions"):
	case lab.Kernel() == "vm": // which takes seconds for each
		way = shortWay()
	default:
		way = throughEnds(len(transitionViews))
	}
	walkThrough(t, with, way)
}

func walkThrough(t *testing.T, with tool, way []int) {
	w := newWalk(t, with, way)
	w.start(way[0])
	w.still()
	start := time.Now()
	for i := range len(way) - 1 {
		w.step(way[i], way[i+1])
	}
	w.report(len(way)-1, time.Since(start))
}

// A walk goes from view to view on shale.
type walk struct {
	*labtest.Users
	tool   tool
	views  []*tunnel.View
	fresh  []string // what each view leaves on a host without the tunnel
	flows  [2]*labtest.Flow
	kept   [2]labtest.Tally // what became of the packets while the port stayed
	moved  [2]labtest.Tally // and while it changed
	lossy  int              // transitions that lost packets
	unlike int              // transitions after which shale is not as after a fresh start
}

func newWalk(t *testing.T, with tool, way []int) *walk {
	t.Helper()
	labtest.Require(t, labtest.Programs...)
	w := &walk{Users: labtest.NewUsers(t), tool: with}
	keys := map[string]keyring.PublicKey{"flint": mustKey(t), "slate": mustKey(t), "granite": mustKey(t)}
	for _, h := range []string{"basalt", "shale"} {
		k, err := keyring.ParsePublicKey([]byte(w.Read(w.Basalt, "/root/net/keyring/"+h+"/wg0.pub")))
		if err != nil {
			t.Fatal(err)
		}
		keys[h] = k
	}
	w.Must(w.Shale, "umask 077; wg genpsk >/etc/wireguard/wg0.flint.psk")
	// The strict reverse path check (RFC 3704) shows whether the encrypted
	// packets are marked all the time.
	w.Must(w.Shale, "sysctl -w net.ipv4.conf.eth0.rp_filter=1")
	// A firewall that tracks connections, as most hosts have.
	w.Must(w.Shale, "nft 'table inet firewall { chain c { type filter hook input priority 0; ct state invalid drop; }; }'")
	// The views with a table of their own leave its rule to the host.
	w.Must(w.Shale, "ip -4 rule add table 777 priority 1000; ip -6 rule add table 777 priority 1000")
	w.Write(w.Basalt, "/root/basalt.json", encoded(t, deriveViews(t, "basalt", keys)[0]))
	w.views = deriveViews(t, "shale", keys)
	w.Must(w.Shale, with.begin)
	w.takeFresh(way)
	return w
}

// takeFresh sees what each view on the way leaves on a host without the tunnel.
func (w *walk) takeFresh(way []int) {
	w.Helper()
	for i, v := range w.views {
		if w.fresh = append(w.fresh, ""); !slices.Contains(way, i) {
			continue
		}
		w.Must(w.Shale, w.tool.files(w.T, v, fmt.Sprintf("/root/%d", i)))
		w.on(w.tool.up, i)
		w.fresh[i] = w.snapshot()
		w.on(w.tool.down, i)
	}
}

// on runs one of the tool's commands, which has to succeed.
func (w *walk) on(command string, view int) string {
	w.Helper()
	return w.Must(w.Shale, fmt.Sprintf("set -e -- %d; %s", view, command))
}

// start brings the tunnel up, with a stream each way.
func (w *walk) start(view int) {
	w.Helper()
	w.on(w.tool.up, view)
	w.Must(w.Basalt, "wgkeys apply -q --view /root/basalt.json && ping -6 -n -c 1 -w 10 2001:db8:7767::1")
	w.flows = w.Users.Flows(w.Basalt, w.Shale, "2001:db8:7767::2", "2001:db8:7767::1", time.Millisecond)
	labtest.WaitFlowing(w.T, w.flows[:]...)
}

// still sees that nothing is lost while nothing changes.
func (w *walk) still() {
	w.Helper()
	w.count()
	time.Sleep(2 * time.Second)
	for i, got := range w.count() {
		w.Logf("%s, nothing changes: %v", w.flows[i].Name, got)
		if got.Lost > 0 || got.Doubled > 0 {
			w.Errorf("%s: %v while nothing changes", w.flows[i].Name, got)
		}
	}
}

func (w *walk) count() (all [2]labtest.Tally) {
	for i, f := range w.flows {
		all[i] = f.Count()
	}
	return all
}

// countAll counts until nothing is lost any more: other tools begin a session
// again, and what flows until it is there belongs to the same transition.
func (w *walk) countAll() (all [2]labtest.Tally) {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		lost := 0
		for i, got := range w.count() {
			all[i].Add(got)
			lost += got.Lost
		}
		if w.tool.again != "" || lost == 0 || time.Now().After(end) {
			return all
		}
	}
}

// step counts, and where it is wgkeys that went, fails.
func (w *walk) step(from, to int) {
	w.Helper()
	failf := w.Errorf
	if w.tool.again == "" {
		failf = func(string, ...any) {}
	}
	name := transitionViews[from].name + " → " + transitionViews[to].name
	steps := w.on(w.tool.move, to)
	diff := demo.LineDiff(w.fresh[to], w.snapshot())
	if diff != "" {
		w.unlike++
		failf("%s: not as after a fresh start:\n%s\n%s", name, diff, steps)
	}
	if more := w.on(w.tool.again, to); more != "" {
		failf("%s: there is more to do:\n%s", name, more)
	}
	total := &w.kept
	if w.views[from].ListenPort != w.views[to].ListenPort {
		total = &w.moved
	}
	lossy, counted := 0, w.countAll()
	for i, got := range counted {
		total[i].Add(got)
		if got.Lost > 0 || got.Doubled > 0 {
			lossy = 1
			failf("%s: %s: %v %s\n%s", name, w.flows[i].Name, got, w.flows[i].Refusals(), steps)
		}
	}
	w.lossy += lossy
	w.Logf("%s: %v; %v; as after a fresh start: %t", name, counted[0], counted[1], diff == "")
}

func (w *walk) report(transitions int, took time.Duration) {
	w.Logf("%s: %d transitions in %v, %d not as after a fresh start", w.tool.name, transitions, took.Round(time.Second),
		w.unlike)
	for i, f := range w.flows {
		w.Logf("%s: %.0f packets a second; the port stays: %v; it changes: %v", f.Name,
			float64(w.kept[i].Sent+w.moved[i].Sent)/took.Seconds(), w.kept[i], w.moved[i])
	}
	w.Logf("%d transitions lost packets", w.lossy)
}

// snapshot is shale's network and its WireGuard device, without what passes by
// itself: numbers of interfaces, times and counters.
func (w *walk) snapshot() string {
	w.Helper()
	// The kernel readies an address a moment after it is added (addrconf_dad_work).
	if err := w.Shale.WaitAddresses(w.Context()); err != nil {
		w.Fatal(err)
	}
	dump := w.Must(w.Shale, "wg show wg0 dump")
	return linkNumber().ReplaceAllString(w.Users.Snapshot(w.Shale), "N: wg0:") + "\n" + normalDump(dump)
}

// normalDump sorts what wg(8) dumps, and shows no secret of it: the private key
// by the public one beside it, and preshared keys by a hash.
func normalDump(dump string) string {
	var lines []string
	for line := range strings.Lines(dump) {
		f := strings.Fields(line)
		if len(f) == 4 { // private key, public key, port, mark
			lines = append(lines, "device "+strings.Join(f[1:], " "))
			continue
		}
		// public key, preshared key, endpoint, allowed IPs, handshake, received, sent, keepalive
		if f[1] != "(none)" {
			f[1] = fmt.Sprintf("%x", sha256.Sum256([]byte(f[1])))[:16]
		}
		allowed := strings.Split(f[3], ",")
		slices.Sort(allowed)
		lines = append(lines, fmt.Sprintln("peer", f[0], f[1], f[2], allowed, f[7]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
