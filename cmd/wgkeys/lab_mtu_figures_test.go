package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wgkeys/deploy/lab"
)

var mtuFigures = flag.Bool("mtu", false, "measure 5 MB through uplinks of all widths, with the MTU chosen and set by hand")

// mtuRuns are those of which the median is taken.
const mtuRuns = 7

// TestMTUFigures is what doc/mtu.md records: 5 MB over TCP through a tunnel that
// chose its MTU, beside one whose MTU is the largest that fits, set by hand on both
// ends. The two take turns.
func TestMTUFigures(t *testing.T) {
	if !*mtuFigures {
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
	t.Logf("laboratory %q, the kernel's own WireGuard: %v; the largest ratio is %.2f\n%s", lab.Kernel(), lab.HasWireGuard(), worst, table.String())
	if worst > 1.2 {
		t.Errorf("more than 1.2 times as long as with the MTU set by hand")
	}
}

func (n *narrowLab) measure(c narrowCase) (line string, ratio float64) {
	n.t.Helper()
	n.uplink(c.uplink)
	name, hub := c.own()
	var took [2][]time.Duration
	var mtu [2]int
	for range mtuRuns {
		for byHand, given := range [][2]int{{}, c.fits()} {
			n.apply(c, given)
			mtu[byHand] = n.mtu(name)
			took[byHand] = append(took[byHand], n.transfer(hub, false)+n.transfer(hub, true))
		}
	}
	var median [2]time.Duration
	for i := range took {
		slices.Sort(took[i])
		median[i] = took[i][mtuRuns/2]
	}
	ratio = float64(median[0]) / float64(median[1])
	return fmt.Sprintf("| %s | %d | %d | %.2f s | %.2f s | %.2f |", c, mtu[0], mtu[1],
		median[0].Seconds(), median[1].Seconds(), ratio), ratio
}
