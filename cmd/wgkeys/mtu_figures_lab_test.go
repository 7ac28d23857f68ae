package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
)

// So often the two take turns, and so many transfers each way there are in each
// turn. The shortest counts: what else the machine does only makes it longer.
const mtuRounds, mtuTransfers = 3, 4

// TestLabMTUFigures is what doc/measured/mtu.md records: 5 MB over TCP through a tunnel that
// chose its MTU, beside one whose MTU is the largest that fits, set by hand on both
// ends.
func TestLabMTUFigures(t *testing.T) {
	if !long("mtu") {
		t.Skip("-mtu measures")
	}
	n := newNarrowLab(t)
	var table strings.Builder
	worst := 0.0
	for _, inside := range []bool{false, true} {
		for _, ipv6 := range []bool{false, true} {
			for _, uplink := range []int{1500, 1492, 1460, 1400, 1280} {
				c := narrowCase{uplink, ipv6, inside}
				line, ratio := n.measure(c)
				worst = max(worst, ratio)
				t.Log(line)
				fmt.Fprintln(&table, line)
			}
		}
		n.down()
	}
	t.Logf("laboratory %q, the kernel's own WireGuard: %v; the largest ratio is %.2f\n%s", lab.Kernel(),
		lab.HasWireGuard(), worst, table.String())
	if worst > 1.2 {
		t.Errorf("more than 1.2 times as long as with the MTU set by hand")
	}
}

func (n *narrowLab) measure(c narrowCase) (line string, ratio float64) {
	n.t.Helper()
	n.uplink(c.uplink)
	rounds, transfers := mtuRounds, mtuTransfers
	if lab.Kernel() == "vm" { // whose clock counts instructions: what else runs takes no time of it
		rounds, transfers = 2, 1
	}
	name, hub := c.own()
	shortest := [2]time.Duration{time.Hour, time.Hour}
	var mtu [2]int
	for range rounds {
		for byHand, given := range [][2]int{{}, c.fits()} {
			n.apply(c, given)
			mtu[byHand] = n.mtu(name)
			for range transfers {
				shortest[byHand] = min(shortest[byHand], n.transfer(hub, false)+n.transfer(hub, true))
			}
		}
	}
	ratio = float64(shortest[0]) / float64(shortest[1])
	return fmt.Sprintf("| %s | %d | %d | %.2f s | %.2f s | %.2f |", c, mtu[0], mtu[1],
		shortest[0].Seconds(), shortest[1].Seconds(), ratio), ratio
}
