package draft

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/parallel"
)

// A writer writes the tunnel file, or a part of it, and records where each line comes from.
type writer struct {
	*common
	text []byte
	from []foreign.Pos  // the origin of each line
	left []foreign.Left // what could not be written
	at   foreign.Pos    // the origin of the lines that are being written
	// the origin of a key of the tunnel file; nil: at
	where func(word string) foreign.Pos
}

// common is what the writers of all parts know.
type common struct {
	m    *maker
	psk  bool // every pair has a preshared key
	port int  // the listen port of all hosts; 0: they differ
}

// fewHosts is how many hosts are worth a writer.
const fewHosts = 500

// write writes the tunnel, and returns where each line comes from: the keys that hold for
// every host, then the hosts.
func (m *maker) write() []foreign.Pos {
	c := &common{m: m, port: commonPort(m.list)}
	c.psk = len(m.Pairs) > 0 && m.countPairs() == len(m.Pairs)
	parts := parallel.Ranges(len(m.list), fewHosts)
	writers := make([]writer, len(parts))
	parallel.Each(len(parts), func(i int) {
		w, room := &writers[i], parts[i].To-parts[i].From
		if w.common = c; i == 0 {
			room = len(m.list) // it gets what the others have written
		}
		w.grow(room)
		if i == 0 {
			w.head()
		}
		for n := parts[i].From; n < parts[i].To; n++ {
			if n > 0 {
				w.put("")
			}
			w.host(m.list[n])
		}
	})
	w := &writers[0]
	for i := range writers {
		if m.Left = append(m.Left, writers[i].left...); i > 0 {
			w.text = append(w.text, writers[i].text...)
			w.from = append(w.from, writers[i].from...)
		}
	}
	m.Text = w.text
	return w.from
}

// grow makes room for the text of so many hosts.
func (w *writer) grow(hosts int) {
	const lines, bytes = 5, 128 // an estimate for each
	w.from = make([]foreign.Pos, 0, lines*hosts)
	w.text = make([]byte, 0, bytes*hosts)
}

// head writes the keys that hold for every host.
func (w *writer) head() {
	w.number("listen_port", w.port)
	w.flag("psk", w.psk)
	if w.port != 0 || w.psk {
		w.put("")
	}
}

func (w *writer) line(format string, args ...any) { w.put(fmt.Sprintf(format, args...)) }

// put writes a line of several pieces: of a setting, its key is the first.
func (w *writer) put(pieces ...string) {
	from := len(w.text)
	for _, s := range pieces {
		w.text = append(w.text, s...)
	}
	word, _, _ := strings.Cut(pieces[0], " = ")
	w.end(from, word)
}

// end ends the line that begins at from. One that may have a key in it is left out: the tunnel
// file is for everybody to read.
func (w *writer) end(from int, word string) {
	line, at := w.text[from:], w.at
	if w.where != nil && bytes.Contains(line, []byte(" = ")) {
		at = w.where(word)
	}
	if keyring.HoldsKey(line) {
		w.left = append(w.left, foreign.Left{Pos: at, What: word, Why: "it may hold a key"})
		w.text = w.text[:from]
		return
	}
	w.text = append(w.text, '\n')
	w.from = append(w.from, at)
}

// commonPort returns the port that all of several hosts listen on, or 0. The port of a host
// without files is unknown.
func commonPort(hosts []*host) int {
	port := 0
	for i, h := range hosts {
		if h.d == nil || i > 0 && h.d.ListenPort != port {
			return 0
		}
		port = h.d.ListenPort
	}
	if len(hosts) < 2 {
		return 0
	}
	return port
}

// countPairs counts the pairs of peers.
func (m *maker) countPairs() int {
	seen := map[[2]string]bool{}
	for _, h := range m.list {
		for _, e := range h.entries {
			seen[[2]string{min(h.name, e.peer.name), max(h.name, e.peer.name)}] = true
		}
	}
	return len(seen)
}

func (w *writer) host(h *host) {
	w.at, w.where = h.pos(), h.where
	for _, c := range h.comment {
		if w.m.ends(c) {
			continue
		}
		w.line("# %s", oneLine(c))
	}
	w.put("[hosts.", h.name, "]")
	if h.description != "" {
		w.line("description = %s", quote(h.description))
	}
	switch {
	case h.d == nil:
		w.put("managed = false")
	case h.d.SSH != "":
		w.line("ssh = %s", quote(h.d.SSH))
	}
	w.reached(h)
	w.list("addresses", h.addresses)
	w.list("routes", h.routes)
	if h.d != nil {
		w.device(h)
	}
	for _, e := range h.entries {
		w.pair(h, e)
	}
}

// where returns the place of a key of the tunnel file in the table of h.
func (h *host) where(word string) foreign.Pos {
	if len(h.mentions) > 0 && (h.d == nil || word == "endpoint" || word == "routes") {
		return h.mentions[0].p.Where(word)
	}
	switch {
	case h.d == nil:
		return h.pos()
	case word == "gateway":
		if i := slices.IndexFunc(h.kept, func(r foreign.Route) bool { return r.Gateway == h.gateway() }); i >= 0 {
			return h.kept[i].Pos
		}
	}
	return h.d.Where(word)
}

func (h *host) pos() foreign.Pos {
	if h.d != nil {
		return h.d.Pos
	}
	return h.mentions[0].p.Pos
}

// reached writes where the peers of h send to.
func (w *writer) reached(h *host) {
	if h.reachable {
		w.put("reachable = true")
	}
	if h.endpoint != "" {
		w.put("endpoint", " = ", quote(h.shortEndpoint()))
	}
	switch {
	case h.d == nil, w.port != 0:
	case h.d.ListenPort != 0:
		w.line("listen_port = %d", h.d.ListenPort)
	case h.endpoint != "" || h.reachable:
		w.line("listen_port = 0")
	}
}

// shortEndpoint returns the endpoint of h, without the port if that is the listen port.
func (h *host) shortEndpoint() string {
	if h.d == nil {
		return h.endpoint
	}
	name, port, err := net.SplitHostPort(h.endpoint)
	if err != nil || port != strconv.Itoa(h.d.ListenPort) {
		return h.endpoint
	}
	return name
}

// device writes what the host's own files say.
func (w *writer) device(h *host) {
	d := h.d
	w.number("mtu", d.MTU)
	w.number("fwmark", int(d.FwMark))
	if h.off {
		w.line(`table = "off"`)
	} else {
		w.number("table", d.Table)
	}
	w.number("metric", d.Metric)
	if g := h.gateway(); g.IsValid() {
		w.line("gateway = %s", quote(g.String()))
	}
	w.list("dns", distinct(d.DNS))
	w.flag("forward", d.Forward)
	w.masquerade(d.Masquerade)
	w.flag("isolate", d.Isolate)
	w.flag("ndp_proxy", len(d.Proxies) > 0)
	if d.Manual {
		w.line("boot = false")
	}
	if f := d.PrivateKeyFile; f != "" && f != "/etc/wireguard/"+d.Name+".key" {
		w.line("private_key_file = %s", quote(f))
	}
	if h.keepalive != 0 {
		w.line("keepalive = %d", h.keepalive)
	}
	if len(d.Sysctls) > 0 {
		var words []string
		for _, key := range sorted(d.Sysctls) {
			words = append(words, quote(key)+" = "+quote(d.Sysctls[key]))
		}
		w.line("sysctls = { %s }", strings.Join(words, ", "))
	}
}

// gateway returns the next hop of the routes of h, or the zero Addr. A route to a single
// address has none in a tunnel file.
func (h *host) gateway() netip.Addr {
	for _, r := range h.kept {
		if r.Gateway.IsValid() && !r.Prefix.IsSingleIP() {
			return r.Gateway
		}
	}
	return netip.Addr{}
}

// distinct returns words without duplicates.
func distinct(words []string) (list []string) {
	for _, w := range words {
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}

func (w *writer) masquerade(m foreign.Masquerade) {
	words := m.Uplinks
	if m.Tunnel {
		words = append(slices.Clone(words), "tunnel")
	}
	switch {
	case m.All && !m.Tunnel:
		w.line("masquerade = true")
	case m.Tunnel && len(words) == 1 && !m.All:
		w.line(`masquerade = "tunnel"`)
	case len(words) > 0:
		w.list("masquerade", words)
	}
}

// keepalive returns the interval that all peers of h have, or 0 if they differ.
func keepalive(h *host) int {
	if len(h.entries) == 0 {
		return 0
	}
	first := h.entries[0].p.Keepalive
	if slices.ContainsFunc(h.entries, func(e *entry) bool { return e.p.Keepalive != first }) {
		return 0
	}
	return first
}

func (w *writer) number(key string, n int) {
	if n != 0 {
		w.line("%s = %d", key, n)
	}
}

func (w *writer) flag(key string, is bool) {
	if is {
		w.line("%s = true", key)
	}
}

func (w *writer) list(key string, words []string) {
	if len(words) == 0 {
		return
	}
	from, before := len(w.text), " = ["
	w.text = append(w.text, key...)
	for _, s := range words {
		w.text = append(append(w.text, before...), quote(s)...)
		before = ", "
	}
	w.text = append(w.text, ']')
	w.end(from, key)
}

func array(words []string) string {
	quoted := make([]string, len(words))
	for i, s := range words {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// pair writes the table of h and one peer, if it needs one.
func (w *writer) pair(h *host, e *entry) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if e.allowed {
		words := make([]string, len(e.p.AllowedIPs))
		for i, p := range e.p.AllowedIPs {
			words[i] = p.String()
		}
		add("allowed_ips = %s", array(words))
	}
	if e.written {
		add("routes = %s", array(e.routes))
	}
	if e.p.Endpoint != "" && e.p.Endpoint != e.peer.endpoint {
		add("endpoint = %s", quote(e.p.Endpoint))
	}
	if e.p.Keepalive != h.keepalive {
		add("keepalive = %d", e.p.Keepalive)
	}
	if w.hasPSK(h, e) && !w.psk && (e.of.name < e.peer.name || e.peer.d == nil) {
		add("psk = true")
	}
	if f := e.p.PresharedKeyFile; f != "" && f != path.Join(keyFolder(h.d), w.m.Tunnel+"."+e.peer.name+".psk") {
		add("psk_file = %s", quote(f))
	}
	if len(lines) == 0 {
		return
	}
	w.at, w.where = e.p.Pos, e.p.Where
	w.put("")
	w.line("[hosts.%s.peer.%s]", h.name, e.peer.name)
	for _, l := range lines {
		w.put(l)
	}
}

func keyFolder(d *foreign.Device) string {
	if d.PrivateKeyFile != "" {
		return path.Dir(d.PrivateKeyFile)
	}
	return "/etc/wireguard"
}

func (w *writer) hasPSK(h *host, e *entry) bool {
	_, has := w.m.pairAt[[2]string{min(h.name, e.peer.name), max(h.name, e.peer.name)}]
	return has
}

// quote returns a TOML string (TOML 1.0, "Basic strings").
func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return `"` + s + `"` // nearly all of them
	}
	var b strings.Builder
	b.Grow(len(s) + len(`""`))
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// oneLine returns a comment for a TOML file: unprintable characters become spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, s)
}
