package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/cmd/internal/labtest"
	"wgkeys/cmd/internal/ui"
	"wgkeys/deploy/lab"
)

// TestLabRotateHub: a hub with many spokes gets another key while packets go both ways on
// all of its tunnels. Then some spokes are asleep: one command leaves all of them behind,
// and they follow at their next apply. Recorded in doc/measured/many.md.
func TestLabRotateHub(t *testing.T) {
	if !long("many") {
		t.Parallel()
		rotateHub(t, 8, 3)
		return
	}
	two := rotateHub(t, 2, 0)
	many := rotateHub(t, *spokesOf, *spokesOf/10)
	t.Logf("a hub with %d spokes takes %.1f times as long as one with 2", *spokesOf, many.Seconds()/two.Seconds())
}

// rotateHub returns how long the first rotation took.
func rotateHub(t *testing.T, n, asleep int) (took time.Duration) {
	s := labtest.NewStar(t, n)
	starExits(s, ui.ExitDone, "wgkeys push -q -j 16 --all hub && wgkeys apply -q hub && wgkeys apply -q -j 16 --all")
	for _, h := range s.Spokes { // one side first: two first handshakes at once can collide
		s.Must(h, "ping -n -q -c 1 -w 60 "+labtest.InsideOf(0).String())
	}
	var flows []*labtest.Flow
	for i, h := range s.Spokes {
		pair := s.FlowsAt(uint16(7768+i), s.Hub, h, labtest.InsideOf(0).String(), labtest.InsideOf(i+1).String(),
			50*time.Millisecond)
		flows = append(flows, pair[:]...)
	}
	labtest.WaitFlowing(t, flows...)

	start, before := time.Now(), logins(s)
	starExits(s, ui.ExitDone, "wgkeys rotate -y -j 16 hub")
	took = time.Since(start)
	if got := logins(s) - before; got != n {
		t.Errorf("%d connections to %d spokes", got, n)
	}
	t.Logf("rotate of a hub with %d spokes: %v", n, took.Round(100*time.Millisecond))
	lossless(t, s, flows, "the hub has its key")
	if asleep > 0 {
		rotateAsleep(t, s, flows, asleep)
	}
	return took
}

// rotateAsleep has some spokes asleep.
func rotateAsleep(t *testing.T, s *labtest.Star, flows []*labtest.Flow, asleep int) {
	for _, h := range s.Spokes[:asleep] {
		s.Must(h, "ip link set eth0 down")
	}
	awake := flows[2*asleep:]
	lossless(t, s, awake, "some were asleep")
	r := starExits(s, ui.ExitFailed, "wgkeys rotate -y -j 16 --timeout 3s hub")
	if c := strings.Count(r.Stderr, "no answer from peer"); c != asleep ||
		!strings.Contains(r.Stderr, "--skip-unreachable") || strings.Contains(r.Stderr, "--skip s") {
		t.Errorf("%d peers are named:\n%s", c, r.Stderr)
	}
	old := s.Must(s.Hub, "cat keyring/hub/wg0.pub")
	start := time.Now()
	r = starExits(s, ui.ExitDone, "wgkeys rotate -y -j 16 --timeout 3s --skip-unreachable hub")
	t.Logf("rotate of a hub with %d spokes, %d of them asleep: %v", len(s.Spokes), asleep,
		time.Since(start).Round(100*time.Millisecond))
	lossless(t, s, awake, "the hub had its key without them")
	if s.Must(s.Hub, "cat keyring/hub/wg0.pub") == old {
		t.Error("the hub keeps its key")
	}
	names := strings.Join(s.Names()[:asleep], " ")
	if !strings.Contains(r.Stderr, "they still have the old key") &&
		!strings.Contains(r.Stderr, "it still has the old key") {
		t.Errorf("nobody is told of %s:\n%s", names, r.Stderr)
	}
	for i, h := range s.Spokes[:asleep] {
		s.Must(h, "ip link set eth0 up")
		s.Until(h.Name()+" to be there", func() bool {
			return s.Users.Run(s.Hub, fmt.Sprintf("ping -n -q -c 1 -W 1 198.18.%d.%d", (i+1)/250, (i+1)%250+1)).Code == 0
		})
	}
	starExits(s, ui.ExitDone, "wgkeys apply -q -j 16 "+names)
	for _, h := range s.Spokes[:asleep] {
		s.Must(h, "ping -n -q -c 1 -w 60 "+labtest.InsideOf(0).String())
	}
	lossless(t, s, awake, "they were awake again")
}

// held is for how long a packet may be on its way: a rotation holds packets for two seconds,
// and lets them go within two more.
const held = 6 * time.Second

// lossless counts what was lost since the last time. What the kernels of both ends count as
// dropped says whether the machine lost it.
func lossless(t *testing.T, s *labtest.Star, flows []*labtest.Flow, until string) {
	t.Helper()
	var sum labtest.Tally
	for _, f := range flows {
		c := f.CountAfter(held)
		if sum.Add(c); c.Lost > 0 {
			t.Errorf("%s, until %s: %v %s\n%s", f.Name, until, c, f.Refusals(), droppedAt(s, f.Name))
		}
	}
	t.Logf("until %s: %v", until, sum)
}

// droppedAt returns what the kernels of the named hosts, "A to B", have dropped.
func droppedAt(s *labtest.Star, names string) (text string) {
	for _, h := range append([]*lab.Host{s.Hub}, s.Spokes...) {
		if slices.Contains(strings.Fields(names), h.Name()) {
			text += h.Name() + ":\n" + s.Must(h, "nstat -as | grep -E 'Errors|Discards|NoPorts' || true; ip -s link show dev wg0; "+
				"ip -s neighbour; cat /proc/net/softnet_stat")
		}
	}
	return text
}
