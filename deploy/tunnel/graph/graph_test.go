package graph

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wgkeys/deploy/tunnel"
)

// readme is the tunnel file of the README.
const readme = `listen_port = 30567
[hosts.shale]
endpoint = "93.93.130.7"
routes = ["::/0"]
forward = true
[hosts.basalt]
addresses = ["2001:db8:7767::2/128"]
`

// phones has unmanaged hosts, and one whose address only its peers know.
const phones = `[hosts.server]
reachable = true
description = "in the cellar"
addresses = ["10.77.0.1/24"]
routes = ["0.0.0.0/0", "::/0"]
[hosts.basalt]
addresses = ["10.77.0.2"]
[hosts.basalt.peer.server]
endpoint = "server.example.net:30567"
[hosts.phone]
managed = false
description = "電話"
addresses = ["10.77.0.3", "2001:db8:7767::3"]
[hosts.relay]
managed = false
endpoint = "198.51.100.7:51000"
peers = ["server"]
addresses = ["10.77.0.5"]
`

func topology(t *testing.T, text string) *tunnel.Topology {
	t.Helper()
	tun, err := tunnel.Parse(fstest.MapFS{"wg0.toml": {Data: []byte(text)}}, "wg0")
	if err != nil {
		t.Fatal(err)
	}
	top, err := tunnel.NewTopology(tun)
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// hubs returns a tunnel of n hosts, of which the first k have endpoints.
func hubs(k, n int) string {
	var b strings.Builder
	for i := range n {
		kind, endpoint := "spoke", ""
		if i < k {
			kind, endpoint = "hub", fmt.Sprintf("endpoint = \"192.0.2.%d\"\n", i+1)
		}
		fmt.Fprintf(&b, "[hosts.%s%02d]\n%s", kind, i, endpoint)
		fmt.Fprintf(&b, "addresses = [\"10.7.0.%d/24\", \"2001:db8:7767::%[1]x/64\"]\n", i+1)
	}
	return b.String()
}

// asked returns a graph in which all hosts but one answered, and every fifth pair never had
// a handshake.
func asked(top *tunnel.Topology) *Graph {
	g := &Graph{Topology: top, Live: map[string]map[string]*time.Duration{}, InWords: time.Duration.String}
	for _, h := range top.Hosts[1:] {
		g.Live[h.Name] = map[string]*time.Duration{}
	}
	for i, l := range top.Links {
		age := time.Duration(11*i) * time.Second
		for _, ends := range [][2]int{{l.A, l.B}, {l.B, l.A}} {
			if peers := g.Live[top.Hosts[ends[0]].Name]; peers != nil {
				if peers[top.Hosts[ends[1]].Name] = &age; i%5 == 4 {
					peers[top.Hosts[ends[1]].Name] = nil
				}
			}
		}
	}
	return g
}

var formats = map[string]func(*Graph) string{"mmd": (*Graph).Mermaid, "dot": (*Graph).DOT, "svg": (*Graph).SVG}

// TestGolden: Graphviz 2.43 and mermaid 11 have rendered these files, and Chromium has
// shown them. GOLDEN=write writes them.
func TestGolden(t *testing.T) {
	tunnels := map[string]*Graph{
		"readme":   {Topology: topology(t, readme)},
		"two-hubs": asked(topology(t, hubs(2, 5))),
		"frames":   asked(topology(t, hubs(5, 20))),
		"phones":   {Topology: topology(t, phones)},
		"hostile":  hostile(),
	}
	for name, g := range tunnels {
		for ext, draw := range formats {
			file := filepath.Join("testdata", name+"."+ext)
			got := draw(g)
			if os.Getenv("GOLDEN") == "write" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s: %s", file, d)
			}
		}
	}
}

// hostile returns a tunnel whose names have a meaning in each of the languages, as programs
// with other rules for names could allow.
func hostile() *Graph {
	top := &tunnel.Topology{Tunnel: "wg0\"]\nclick a \"x"}
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	for _, name := range []string{`a"b`, `c\`, "d\ne", "<script>alert(1)</script>", "&amp;#quot;", "]]>--><!--",
		"end", "`md`", "\x00\x1b[31m", "ü"} {
		top.Hosts = append(top.Hosts, tunnel.Node{Name: name, Endpoint: name, Addresses: inside})
	}
	for i := 1; i < len(top.Hosts); i++ {
		top.Links = append(top.Links, tunnel.Link{A: 0, B: i, ToA: tunnel.Start{Can: true, At: top.Hosts[0].Name}})
	}
	return &Graph{Topology: top}
}

// TestXML: an SVG is valid XML that loads nothing and runs nothing, whatever the names are.
func TestXML(t *testing.T) {
	known := map[string]bool{"svg": true, "title": true, "g": true, "rect": true, "text": true, "path": true}
	d := xml.NewDecoder(strings.NewReader(hostile().SVG()))
	texts := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			if texts++; !known[e.Name.Local] {
				t.Errorf("element %s", e.Name.Local)
			}
		}
	}
	if texts < 30 {
		t.Errorf("only %d elements", texts)
	}
}

// TestQuotes: no name ends its quotes.
func TestQuotes(t *testing.T) {
	g := hostile()
	for line := range strings.Lines(g.Mermaid()) {
		if n := strings.Count(line, `"`); n != 0 && n != 2 || strings.ContainsAny(line, "`\x1b") {
			t.Errorf("Mermaid: %q", line)
		}
	}
	for line := range strings.Lines(g.DOT()) {
		line = strings.ReplaceAll(line, `\\`, "")
		if n := strings.Count(line, `"`) - strings.Count(line, `\"`); n%2 != 0 {
			t.Errorf("DOT: %q", line)
		}
	}
}

// shapes returns tunnels of all kinds, by name.
func shapes(t *testing.T) map[string]*Graph {
	all := map[string]*Graph{"readme": {Topology: topology(t, readme)}, "hostile": hostile()}
	for _, n := range []int{2, 3, 4, 5, 7, 12, 50} {
		for _, k := range []int{1, 2, 3, 5, 6, n} {
			if k <= n {
				top := topology(t, hubs(k, n))
				all[fmt.Sprintf("%d of %d", k, n)] = &Graph{Topology: top}
				all[fmt.Sprintf("%d of %d, asked", k, n)] = asked(top)
			}
		}
	}
	for seed := range uint64(60) {
		all[fmt.Sprintf("random %d", seed)] = random(rand.New(rand.NewPCG(seed, 1)))
	}
	return all
}

// random returns a tunnel with random pairs of peers.
func random(r *rand.Rand) *Graph {
	top := &tunnel.Topology{Tunnel: "wg0"}
	n := 1 + r.IntN(40)
	for i := range n {
		h := tunnel.Node{Name: fmt.Sprint("host", strings.Repeat("x", r.IntN(9)), i)}
		for a := range r.IntN(9) {
			h.Addresses = append(h.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(a)}), 32))
		}
		top.Hosts = append(top.Hosts, h)
	}
	for i := range n {
		for j := i + 1; j < n; j++ {
			if r.IntN(n) < 3 {
				toA, toB := tunnel.Start{Can: r.IntN(2) == 0, At: "a"}, tunnel.Start{Can: r.IntN(2) == 0}
				top.Links = append(top.Links, tunnel.Link{A: i, B: j, ToA: toA, ToB: toB})
			}
		}
	}
	if r.IntN(2) == 0 && n > 1 {
		return asked(top)
	}
	return &Graph{Topology: top}
}

// TestReadable: no two boxes overlap, and no arrow crosses a box.
func TestReadable(t *testing.T) {
	for name, g := range shapes(t) {
		d := &drawing{Graph: g, peers: g.peerings()}
		blocks, arrows := g.blocks()
		var sizes []rect
		for i := range blocks {
			sizes = append(sizes, d.size(&blocks[i]))
		}
		l := newLayout(sizes, arrows)
		for i, a := range l.size {
			if a.w < sizes[i].w || a.h < sizes[i].h || math.IsNaN(a.x+a.y) {
				t.Fatalf("%s: block %d at %v", name, i, a)
			}
			for j, b := range l.size[:i] {
				if overlap(a, b) {
					t.Errorf("%s: blocks %d and %d: %v, %v", name, i, j, a, b)
				}
			}
		}
		for _, c := range l.curves() {
			if i := l.crossed(c); i >= 0 {
				t.Fatalf("%s: the arrow from %d to %d crosses block %d", name, c.from, c.to, i)
			}
		}
	}
}

// crossed returns a block that an arrow crosses, or -1.
func (l *layout) crossed(c curve) int {
	for step := range 101 {
		p := c.point(float64(step) / 100)
		for i, r := range l.size {
			near := 3.0 // as far as arrows keep from the boxes that they do not touch
			if i == c.from || i == c.to {
				near = -1
			}
			if r = r.grown(near); r.x < p.x && p.x < r.x+r.w && r.y < p.y && p.y < r.y+r.h {
				return i
			}
		}
	}
	return -1
}

func overlap(a, b rect) bool {
	return a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h
}

// point returns the point of the quadratic Bézier curve at the parameter part.
func (c *curve) point(part float64) point {
	s, p, e := (1-part)*(1-part), 2*part*(1-part), part*part
	return point{s*c.start.x + p*c.pull.x + e*c.end.x, s*c.start.y + p*c.pull.y + e*c.end.y}
}

// TestEveryLink: a drawing says who can start a connection to whom, no more and no less,
// and a tunnel of fifty hosts needs few arrows.
func TestEveryLink(t *testing.T) {
	for name, g := range shapes(t) {
		want := map[[2]int]bool{} // by both orders of a pair: who can start
		for _, l := range g.Links {
			want[[2]int{l.A, l.B}], want[[2]int{l.B, l.A}] = l.ToB.Can, l.ToA.Can
		}
		blocks, arrows := g.blocks()
		drawn, hosts := map[[2]int]bool{}, 0
		for _, b := range blocks {
			hosts += len(b.hosts)
			if b.mesh {
				drawn = draws(drawn, b, b, true)
			}
		}
		for _, w := range arrows {
			drawn = draws(drawn, blocks[w.from], blocks[w.to], !w.blind)
			drawn = draws(drawn, blocks[w.to], blocks[w.from], w.both)
		}
		if d := cmp.Diff(want, drawn); d != "" || hosts != len(g.Hosts) {
			t.Errorf("%s: %d hosts of %d: %s", name, hosts, len(g.Hosts), d)
		}
		if len(arrows) > maxArrows && !strings.HasPrefix(name, "random") {
			t.Errorf("%s: %d arrows", name, len(arrows))
		}
	}
}

// draws adds the links that an arrow between two blocks stands for.
func draws(drawn map[[2]int]bool, from, to block, can bool) map[[2]int]bool {
	for _, i := range from.hosts {
		for _, j := range to.hosts {
			if i != j {
				drawn[[2]int{i, j}] = can
			}
		}
	}
	return drawn
}

// TestSameBytes: a drawing in git changes only with the tunnel.
func TestSameBytes(t *testing.T) {
	for name, g := range shapes(t) {
		for ext, draw := range formats {
			if first := draw(g); first != draw(g) {
				t.Errorf("%s: another %s the second time", name, ext)
			}
		}
	}
}

// TestHandshake: if the two ends know of different handshakes, the later one counts.
func TestHandshake(t *testing.T) {
	long, short := time.Hour, time.Minute
	top := topology(t, readme)
	for _, c := range []struct {
		live  map[string]map[string]*time.Duration
		state shake
	}{
		{nil, notAsked},
		{map[string]map[string]*time.Duration{}, unknown},
		{map[string]map[string]*time.Duration{"shale": {"basalt": nil}}, never},
		{map[string]map[string]*time.Duration{"shale": {"basalt": nil}, "basalt": {"shale": &long}}, older},
		{map[string]map[string]*time.Duration{"shale": {"basalt": &short}, "basalt": {"shale": &long}}, recent},
		{map[string]map[string]*time.Duration{"shale": {"basalt": &long}, "basalt": {"shale": &short}}, recent},
		{map[string]map[string]*time.Duration{"shale": {"basalt": &long}, "basalt": {"shale": nil}}, older},
	} {
		g := &Graph{Topology: top, Live: c.live}
		if state, _ := g.handshake(0, 1); state != c.state {
			t.Errorf("%v: %v, want %v", c.live, state, c.state)
		}
	}
}
