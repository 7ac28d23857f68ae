package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
	"wgkeys/deploy/lab/labtest"
	"wgkeys/keyring"
)

// From each view to each other one, on a tunnel in use: what apply leaves is
// what it leaves on a host without the tunnel, there is nothing more to do, and
// a stream of packets each way to a peer that stays loses none. Only a change of
// the port is another matter: it is the peer that has to follow.
func TestTransitions(t *testing.T) {
	w := newWalk(t)
	way := everyPair(len(w.fresh))
	if lab.Kernel() == "vm" {
		way = ring(len(w.fresh))
	}
	w.start(way[0])
	before := w.baseline()
	start := time.Now()
	for i := range len(way) - 1 {
		w.step(way[i], way[i+1])
	}
	took := time.Since(start)
	t.Logf("%d transitions in %v; before: %v", len(way)-1, took.Round(time.Millisecond), before)
	for i, f := range w.flows {
		sent := w.kept[i].sent + w.moved[i].sent
		t.Logf("%s: %d packets, %.0f a second; the port stays: %+v; it changes: %+v", f.name,
			sent, float64(sent)/took.Seconds(), w.kept[i], w.moved[i])
	}
}

// A walk goes from view to view on shale.
type walk struct {
	*users
	fresh []string // what a fresh apply of each view leaves
	ports []int
	roams string // the public key of basalt, whose endpoint is learned
	flows [2]*flow
	kept  [2]tally // what became of the packets while the port stayed
	moved [2]tally // and while it changed
}

// newWalk takes down what each view leaves on a host without the tunnel.
func newWalk(t *testing.T) *walk {
	t.Helper()
	labtest.Require(t, programs...)
	u := newUsers(t)
	keys := map[string]keyring.PublicKey{"flint": mustKey(t), "slate": mustKey(t), "granite": mustKey(t)}
	for _, h := range []string{"basalt", "shale"} {
		k, err := keyring.ParsePublicKey([]byte(u.read(u.basalt, "/root/net/keyring/"+h+"/wg0.pub")))
		if err != nil {
			t.Fatal(err)
		}
		keys[h] = k
	}
	u.must(u.shale, "umask 077; wg genpsk >/etc/wireguard/wg0.flint.psk")
	// The strict reverse path check (RFC 3704) shows whether the encrypted
	// packets are marked all the time.
	u.must(u.shale, "sysctl -w net.ipv4.conf.eth0.rp_filter=1")
	// The views with a table of their own leave its rule to the host.
	u.must(u.shale, "ip -4 rule add table 777 priority 1000; ip -6 rule add table 777 priority 1000")
	u.write(u.basalt, "/root/basalt.json", encoded(t, deriveViews(t, "basalt", keys)[0]))
	w := &walk{users: u, roams: keys["basalt"].String()}
	for i, v := range deriveViews(t, "shale", keys) {
		u.write(u.shale, viewFile(i), encoded(t, v))
		w.ports = append(w.ports, v.ListenPort)
	}
	for i := range transitionViews {
		u.must(u.shale, "wgkeys apply -q --view "+viewFile(i))
		w.fresh = append(w.fresh, w.snapshot())
		u.must(u.shale, "wgkeys down -q")
	}
	return w
}

func viewFile(i int) string { return fmt.Sprintf("/root/%d.json", i) }

// start brings the tunnel up, with a stream each way.
func (w *walk) start(view int) {
	w.t.Helper()
	w.must(w.shale, "wgkeys apply -q --view "+viewFile(view))
	w.must(w.basalt, "wgkeys apply -q --view /root/basalt.json && ping -6 -n -c 1 -w 10 2001:db8:7767::1")
	w.flows = w.users.flows(w.basalt, w.shale, "2001:db8:7767::2", "2001:db8:7767::1", time.Millisecond)
	waitFlowing(w.t, w.flows[:]...)
}

// baseline is what the machine itself loses while nothing changes.
func (w *walk) baseline() (still [2]tally) {
	w.t.Helper()
	w.count()
	time.Sleep(2 * time.Second)
	still = w.count()
	for i, f := range w.flows {
		if still[i].lost > 0 || still[i].doubled > 0 {
			w.t.Errorf("%s: %+v while nothing changes", f.name, still[i])
		}
	}
	return still
}

func (w *walk) count() (all [2]tally) {
	for i, f := range w.flows {
		all[i] = f.count()
	}
	return all
}

// movedAtMost is a quarter of a second of packets. Those that a peer sends to
// the old port before it hears from the new one are lost; then it follows.
const movedAtMost = 250

func (w *walk) step(from, to int) {
	w.t.Helper()
	name := transitionViews[from].name + " → " + transitionViews[to].name
	r := w.run(w.shale, "wgkeys apply --view "+viewFile(to)+" && echo == && wgkeys plan --view "+viewFile(to))
	steps, more, _ := strings.Cut(r.stdout, "==\n")
	if r.code != 0 || more != "" {
		w.t.Errorf("%s: exit %d, the second plan:\n%s\n%s", name, r.code, more, r.stderr)
	}
	if diff := lineDiff(w.fresh[to], w.snapshot()); diff != "" {
		w.t.Errorf("%s: not as after a fresh apply:\n%s\n%s", name, diff, steps)
	}
	now := w.count()
	for i, f := range w.flows {
		total, most := &w.kept[i], 0
		if w.ports[from] != w.ports[to] {
			total, most = &w.moved[i], movedAtMost
		}
		total.add(now[i])
		if now[i].lost > most || now[i].doubled > 0 {
			w.t.Errorf("%s: %s: %+v %s\n%s", name, f.name, now[i], f.refusals(), steps)
		}
	}
}

// snapshot is shale's network and its WireGuard device, without what passes by
// itself: numbers of interfaces, times, counters and endpoints that roam.
func (w *walk) snapshot() string {
	w.t.Helper()
	// The kernel readies an address a moment after it is added (addrconf_dad_work).
	if err := w.shale.WaitAddresses(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	dump := w.must(w.shale, "wg show wg0 dump")
	return linkNumber.ReplaceAllString(w.users.snapshot(w.shale), "N: wg0:") + "\n" + w.normal(dump)
}

// normal sorts what wg(8) dumps, and shows no secret of it: the private key by
// the public one beside it, and preshared keys by a hash.
func (w *walk) normal(dump string) string {
	var lines []string
	for line := range strings.Lines(dump) {
		f := strings.Fields(line)
		if len(f) == 4 { // private key, public key, port, mark
			lines = append(lines, "device "+strings.Join(f[1:], " "))
			continue
		}
		// public key, preshared key, endpoint, allowed IPs, handshake, received, sent, keepalive
		if f[0] == w.roams {
			f[2] = "(roams)"
		}
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
