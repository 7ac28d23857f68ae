package tunnel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"wgkeys/keyring"
)

// FuzzParts holds that a file which is parsed in parts, wherever it is cut, makes the tree that
// it makes as a whole, and that one with an error is not parsed in parts.
func FuzzParts(f *testing.F) {
	for _, text := range dependent {
		f.Add([]byte(text))
	}
	for _, pattern := range []string{"testdata/views/*/wg0.toml", "testdata/errors/*.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			if filepath.Ext(path) == ".txtar" {
				text = txtar.Parse(text).Files[0].Data
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) { joined(t, text) })
}

// dependent are files of which a part depends on another one, or is wrong.
var dependent = map[string]string{
	"the same host again":         "[hosts.a]\nmtu = 1400\n[hosts.b]\nmtu = 1400\n[hosts.a]\nmtu = 1300\n",
	"a pair of a host above":      "[hosts.a]\nmtu = 1400\n[hosts.b]\nmtu = 1400\n[hosts.a.peer.b]\nkeepalive = 25\n",
	"a header in a text":          "[hosts.a]\ndescription = \"\"\"\n[hosts.b]\n\"\"\"\n",
	"a header in a literal text":  "[hosts.a]\ndescription = '''\n[hosts.b]\nmtu = 1400\n'''\n",
	"a header in a list":          "[hosts.a]\naddresses = [\n[hosts.b]\n]\n",
	"hosts in braces":             "hosts = {}\n[hosts.b]\nmtu = 1400\n",
	"hosts that are no table":     "hosts = 1\n[hosts.b]\nmtu = 1400\n",
	"hosts as a list of tables":   "[[hosts]]\nmtu = 1\n[hosts.b]\nmtu = 1400\n",
	"an error before the cut":     "[hosts.a]\nmtu = \n[hosts.b]\nmtu = 1400\n",
	"an error after the cut":      "[hosts.a]\nmtu = 1\n[hosts.b]\nmtu 1400\n",
	"a key twice after the cut":   "[hosts.a]\nmtu = 1\n[hosts.b]\nmtu = 1400\nmtu = 1300\n",
	"a host that is a number":     "hosts.b = 1\n[hosts.b]\nmtu = 1400\n",
	"a header of hosts follows":   "[hosts.a]\nmtu = 1400\n[hosts.b]\nmtu = 1400\n[hosts]\nc.mtu = 1400\n",
	"the rest of the keys follow": "[hosts.a]\nmtu = 1400\n[hosts.b]\nmtu = 1400\n[other]\nmtu = 1400\n",
}

// TestParts: files of hosts that are each in one place are parsed in parts, and files of which
// the parts depend on each other are not.
func TestParts(t *testing.T) {
	var b strings.Builder
	b.WriteString("# a tunnel\r\npsk = true\nhosts.first.mtu = 1400\n")
	for i := range 40 {
		fmt.Fprintf(&b, "\n# host %d\n[hosts.h%d]\naddresses = [\n  \"10.0.0.%d\",\n]\n", i, i, i)
		b.WriteString("description = \"\"\"\nlines \\\n\"\"\"\nsysctls = { \"net.ipv4.x\" = 1 }\n")
		fmt.Fprintf(&b, "[hosts.h%d.peer.h%d]\nkeepalive = 25\n", i, i+1)
	}
	if got := joined(t, []byte(b.String())); got != 41 {
		t.Errorf("of 40 single cuts and all of them together, %d were parsed in parts", got)
	}
	for name, text := range dependent {
		if name == "a header of hosts follows" || name == "the rest of the keys follow" {
			continue // the cut of these is before a part that depends on nothing
		}
		if got := joined(t, []byte(text)); got != 0 {
			t.Errorf("%s: parsed in parts", name)
		}
	}
}

// joined parses text in parts, with each possible cut alone and with all of them, and returns
// how many times that was possible. Each time the tree has to be that of the whole.
func joined(t *testing.T, text []byte) (times int) {
	src := &source{"tunnels/wg0.toml", 0}
	if offset, _, _ := tooMuch(text); offset >= 0 {
		return 0
	}
	whole := newMerger(src)
	whole.part(src, text, 0)
	var all [][]byte
	from := 0
	check := func(parts [][]byte) {
		m := newMerger(src)
		if !m.parts(src, parts) {
			return
		}
		times++
		if len(whole.list) > 0 {
			t.Errorf("in %d parts there is no error in a file with %v:\n%s", len(parts), whole.err(), text)
		}
		if got, want := drawn(m.root), drawn(whole.root); got != want {
			t.Errorf("in %d parts:\n%s\nas a whole:\n%s\nof\n%s", len(parts), got, want, text)
		}
	}
	for at := nextHost(text, 0); at >= 0; at = nextHost(text, at) {
		check([][]byte{text[:at], text[at:]})
		all, from = append(all, text[from:at]), at
	}
	check(append(all, text[from:]))
	return times
}

func newMerger(src *source) *merger {
	m := &merger{}
	m.root = m.newTable(pos{src, 1}, nil, "")
	return m
}

// drawn is all of a tree, as a text.
func drawn(n *node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %v %q %q %d %v\n", n.path(), n.line, n.kind, n.text, n.name, n.maker.by, n.maker.src != nil)
	for _, v := range n.vals {
		if n.kind.String() == "Table" && n.get(v.name) != v {
			fmt.Fprintf(&b, "%s is not found\n", v.path())
		}
		if v.parent != n {
			fmt.Fprintf(&b, "%s has another parent\n", v.path())
		}
		b.WriteString(drawn(v))
	}
	return b.String()
}

// TestProcessors: a large tunnel is the same on one processor and on several, with all errors.
func TestProcessors(t *testing.T) {
	const hosts = 4 * max(2*leastPart/64, fewHosts) // several parts of all that is divided
	section := func(i int, more string) string {
		return fmt.Sprintf("\n[hosts.h%d]\nmanaged = false\naddresses = [\"10.%d.%d.%d\"]\n%s",
			i, i>>16, i>>8&255, i&255, more)
	}
	plain := func(more func(i int) string) string {
		var b strings.Builder
		b.WriteString("[hosts.hub]\nendpoint = \"192.0.2.1\"\naddresses = [\"10.255.0.1/8\"]\n")
		for i := hosts; i > 0; i-- {
			b.WriteString(section(i, more(i)))
		}
		return b.String()
	}
	some := func(every int, line string) func(int) string {
		return func(i int) string {
			if i%every == 1 {
				return line
			}
			return ""
		}
	}
	none := some(hosts+2, "")
	for name, text := range map[string]string{
		"plain":                       plain(none),
		"a few errors":                plain(some(hosts/5, "mtu = 1\n")),
		"more errors than are listed": plain(some(hosts/300, "mtu = 1\nunknown = 1\n")),
		"names that are none":         strings.ReplaceAll(plain(none), "[hosts.h1", "[hosts.H1"),
		"a host twice":                plain(none) + section(7, ""),
		"a pair at the end":           plain(none) + "[hosts.hub.peer.h9]\nkeepalive = 25\n",
		"an address twice":            plain(none) + "[hosts.x]\naddresses = [\"10.0.0.7\", \"10.0.0.9\"]\n",
		"an endpoint inside":          plain(some(hosts/9, "endpoint = \"10.1.2.3:1\"\n")),
		"both":                        plain(some(hosts/9, "endpoint = \"10.1.2.3:1\"\nroutes = [\"10.0.0.7/32\"]\n")),
		"a syntax error":              strings.Replace(plain(none), "[hosts.h500]", "[hosts.h500", 1),
		"a list without an end":       plain(some(hosts/2, "routes = [\n")),
		"a text over several hosts":   plain(some(hosts/2, "description = '''")),
	} {
		t.Run(name, func(t *testing.T) {
			want := answer(t, 1, text)
			if got := answer(t, 4, text); got != want {
				t.Errorf("on one processor:\n%.3000s\non several:\n%.3000s", want, got)
			}
			if strings.HasPrefix(want, "{") != (name == "plain" || name == "a pair at the end") {
				t.Errorf("unexpected: %.300s", want)
			}
		})
	}
}

// answer is what is said of a tunnel on so many processors: an error, or the view of the hub.
func answer(t *testing.T, processors int, text string) string {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	tun, err := Parse(fstest.MapFS{
		"wg0.toml":      {Data: []byte(text)},
		"wg0.d/10.toml": {Data: []byte("[hosts.h20]\nkeepalive = 20\n[hosts.h21]\nkeepalive = 20\n")},
	}, "wg0")
	if err != nil {
		return err.Error()
	}
	keys := map[string]keyring.PublicKey{}
	for i, host := range tun.Hosts() {
		keys[host] = keyring.PublicKey{9, byte(i), byte(i >> 8)}
	}
	if v, err := tun.View("h1", keys); err != nil || len(v.Peers) != 1 {
		t.Fatal(len(v.Peers), err)
	}
	v, err := tun.View("hub", keys)
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	keys["h1"] = keys["h2"]
	if _, err = tun.View("hub", keys); err == nil || !strings.Contains(err.Error(), "h1") {
		t.Fatal("two hosts with one key:", err)
	}
	return string(list)
}
