package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sizes are how many hosts each work is measured with.
var sizes = []int{10, 100, 1000, 10_000}

// growth: how the processor time of each work grows with the number of hosts, drawn into
// doc/measured/growth.svg. It is the least of the runs: other work of the machine only adds.
func (b *bench) growth() {
	works := []string{"check", "show", "import", "rekey", "apply, the first", "apply, nothing to do"}
	times := map[string][]float64{}
	for _, n := range sizes {
		net := newLargeRepo(b.T, n)
		add := func(work string, run func() float64) {
			var all []float64
			for range *benchRuns {
				all = append(all, run())
			}
			times[work] = append(times[work], slices.Min(all))
			b.Logf("%s of %d: %.4f s", work, n, slices.Min(all))
		}
		add("check", func() float64 { return b.processors(b.wgkeys, "check", "-C", net) })
		add("show", func() float64 { return b.processors(b.wgkeys, "show", "--json", "-C", net, "hub") })
		conf := b.peersFile(n)
		add("import", func() float64 { return b.processors(b.wgkeys, "import", "-n", "--host", "hub", conf) })
		f := newFigures(b.T, filepath.Join(b.dir, fmt.Sprint("growth", n)), n, false)
		kept := filepath.Join(f.dir, "kept")
		b.clock("cp", "-a", f.net, kept)
		add("rekey", func() float64 {
			b.clock("rsync", "-a", "--delete", "--checksum", kept+"/", f.net+"/")
			return b.processors(b.wgkeys, "rekey", "-q", "-C", f.net, "-i", f.alice)
		})
		h := newHub(b.T, n)
		b.equip(h.Host)
		add("apply, the first", func() float64 {
			h.sh("wgkeys down -q")
			return h.processors("wgkeys apply -q --view wg0.view")
		})
		add("apply, nothing to do", func() float64 { return h.processors("wgkeys apply -q --view wg0.view") })
	}
	if err := os.WriteFile("doc/measured/growth.svg", []byte(plot(works, times)), 0o644); err != nil {
		b.Fatal(err)
	}
}

// The picture, in units of its own: both axes are logarithmic.
const (
	plotWidth, plotHeight = 640, 400
	plotLeft, plotBottom  = 60, 360
	plotRight, plotTop    = 460, 20
)

var plotColours = []string{"#1b6ca8", "#c8553d", "#2d936c", "#8a5a9e", "#b58b00", "#555555"}

// plot draws seconds over hosts.
func plot(works []string, times map[string][]float64) string {
	const least, most = -3.0, 2.0 // powers of ten of a second
	x := func(hosts int) float64 {
		return plotLeft + (math.Log10(float64(hosts))-1)/3*(plotRight-plotLeft)
	}
	y := func(seconds float64) float64 {
		at := (math.Log10(seconds) - least) / (most - least)
		return plotBottom - min(1, max(0, at))*(plotBottom-plotTop)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+
		"\n",
		plotWidth, plotHeight)
	fmt.Fprintf(&s, "<title>Processor time by the number of hosts</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		plotWidth, plotHeight)
	for power := int(least); power <= int(most); power++ {
		at := y(math.Pow10(power))
		fmt.Fprintf(&s, `<path d="M%d %.0fH%d" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%g s</text>`+"\n",
			plotLeft, at, plotRight, plotLeft-6, at+4, math.Pow10(power))
	}
	for _, n := range sizes {
		fmt.Fprintf(&s, `<path d="M%.0f %dV%d" stroke="#ddd"/><text x="%.0f" y="%d" text-anchor="middle">%d</text>`+"\n",
			x(n), plotTop, plotBottom, x(n), plotBottom+18, n)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="middle">hosts</text>`+"\n", (plotLeft+plotRight)/2, plotHeight-6)
	for i, work := range works {
		var points []string
		for j, seconds := range times[work] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(sizes[j]), y(seconds)))
		}
		label := plotTop + 14 + 20*i
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "),
			plotColours[i])
		fmt.Fprintf(&s, `<path d="M%d %dh18" stroke="%s" stroke-width="2"/><text x="%d" y="%d">%s</text>`+"\n",
			plotRight+16, label-4, plotColours[i], plotRight+40, label, work)
	}
	s.WriteString("</svg>\n")
	return s.String()
}
