// Package wgquick reads and writes the files of wg-quick(8), and those of `wg setconf` and
// `wg showconf`, which lack the keys that only wg-quick knows (wg(8), "CONFIGURATION FILE
// FORMAT").
package wgquick

import (
	"iter"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
)

const tool = "wg-quick"

// The keys as the two programs spell them. Both ignore case.
var (
	interfaceKeys = []string{"PrivateKey", "ListenPort", "FwMark", "Address", "MTU", "DNS", "Table", "SaveConfig",
		"PreUp", "PostUp", "PreDown", "PostDown"}
	peerKeys = []string{"PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"}
)

// Parse reads files of wg-quick, each of which is one interface, named after the file:
// wg0.conf. Lines are read as wg-quick and wg(8) do: "#" begins a comment anywhere in a
// line, blanks are ignored, and so is case in keys and sections. If a key or a peer occurs
// twice, the same one counts as with them.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	var devices []*foreign.Device
	r := &foreign.Reader{Tool: tool}
	for _, f := range files {
		p := parts(f, split(f.Text))
		if p == nil {
			p = newParser(f, r)
			p.d.Peers = make([]foreign.Peer, 0, headers(f.Text))
			p.lines(f.Text, 0)
			p.end()
		}
		p.Reader = r
		p.file()
		devices = append(devices, p.d)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return devices, nil
}

// A parser reads one file.
type parser struct {
	*foreign.Reader
	d       *foreign.Device
	peer    *foreign.Peer // the current peer; nil: the lines are the interface's
	section string        // "Interface", "Peer" or an unknown name; "": none yet
	notes   foreign.Comments
	inline  int    // how many of the pending ones are on the current line
	first   bool   // no key of the current peer was read yet
	before  string // the line before
	hooks   []hook
	off     bool // Table = off
	saved   bool // FwMark is 0xca6c, as wg(8) prints the first mark that wg-quick chooses
}

// A hook is a command. Hooks are interpreted once the whole file was read.
type hook struct {
	at      foreign.Pos
	key     string
	command string
}

func newParser(f foreign.File, r *foreign.Reader) *parser {
	return &parser{Reader: r, d: &foreign.Device{
		Pos:  foreign.Pos{File: f.Name, Line: 1},
		Name: strings.TrimSuffix(path.Base(f.Name), ".conf"), ByFile: true, Alias: f.Interface,
	}}
}

// lines reads lines of the file, before which there are above.
func (p *parser) lines(text []byte, above int) {
	at := p.d.Pos
	at.Line = above
	for line := range strings.Lines(string(text)) {
		at.Line++
		text := strings.TrimSpace(line)
		p.line(at, text)
		p.before = text
	}
}

// end decides about the comments at the end of the file.
func (p *parser) end() {
	p.blank()
	p.comments(&p.d.Comment)
}

// file checks the whole, when all lines are read.
func (p *parser) file() {
	if p.section == "" {
		p.Wrong(p.d.Pos, "", "no [Interface] is in it: it is not a file of %s", tool)
		return
	}
	p.settle()
}

func (p *parser) line(at foreign.Pos, line string) {
	switch {
	case line == "":
		p.blank()
		return
	case line[0] == '#':
		aside := p.notes.Add(line, p.section != "" && p.before != "", "Interface", "Peer")
		p.d.Comment = append(p.d.Comment, aside...)
		return
	}
	p.notes.Close()
	text, comment, commented := strings.Cut(line, "#")
	p.inline = 0
	if commented {
		if text, ok := foreign.Comment(comment); ok {
			p.notes.Pending, p.inline = append(p.notes.Pending, text), 1
		}
	}
	if text = strings.TrimSpace(text); strings.HasPrefix(text, "[") {
		p.header(at, text)
		return
	}
	key, value, ok := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case !ok && text[0] == ';':
		p.Wrong(at, "begin it with #", "a comment of wg(8) does not begin with ;")
	case !ok && strings.HasSuffix(p.before, `\`):
		p.Wrong(at, "write the command into one line", `%s goes on from the line before, but no line of wg-quick does, also after \`,
			foreign.Shown(text))
	case !ok:
		p.Wrong(at, "", "%s is neither a [section] nor KEY = VALUE", foreign.Shown(text))
	case p.section == "":
		p.Wrong(at, "", "%s stands before [Interface]", foreign.Shown(key))
	case p.peer != nil:
		p.beside(key)
		p.comments(&p.peer.Comment)
		p.peerKey(at, key, value)
	case strings.EqualFold(p.section, "Interface"):
		p.comments(&p.d.Comment)
		p.interfaceKey(at, key, value)
	}
}

func (p *parser) comments(to *[]string) { *to = append(*to, p.notes.Take()...) }

// blank decides at a blank line where the comments before it belong.
func (p *parser) blank() {
	switch before := p.notes.Blank(); p.peer {
	case nil:
		p.d.Comment = append(p.d.Comment, before...)
	default:
		p.peer.Comment, p.peer.Beside = append(p.peer.Comment, before...), append(p.peer.Beside, before...)
	}
}

// beside records which comments are about a key of a peer rather than the peer itself:
// those at the end of the line of any key but PublicKey, and those before any key but the
// first.
func (p *parser) beside(key string) {
	public, first := strings.EqualFold(key, "PublicKey"), p.first
	if p.first = false; len(p.notes.Pending) == 0 || public && first {
		return
	}
	own := len(p.notes.Pending)
	if first || public {
		own -= p.inline
	}
	switch {
	case public: // a comment on its line may name the peer
		p.peer.Beside = append(p.peer.Beside, p.notes.Pending[:own]...)
	case first: // and so may those before the first key
		p.peer.Beside = append(p.peer.Beside, p.notes.Pending[own:]...)
	default:
		p.peer.Beside = append(p.peer.Beside, p.notes.Pending...)
	}
}

func (p *parser) header(at foreign.Pos, text string) {
	name, rest, closed := strings.Cut(text[1:], "]")
	name = strings.TrimSpace(name)
	if !closed || strings.TrimSpace(rest) != "" {
		p.Wrong(at, "", "%s is no [section]", foreign.Shown(text))
		return
	}
	switch strings.ToLower(name) {
	case "interface":
		p.section, p.peer = "Interface", nil
		p.comments(&p.d.Comment)
	case "peer":
		if p.peer == nil {
			p.d.Comment = append(p.d.Comment, p.notes.TakeDescription()...)
		}
		p.section, p.first = "Peer", true
		p.d.Peers = append(p.d.Peers, foreign.Peer{Pos: at, Routed: true})
		p.peer = &p.d.Peers[len(p.d.Peers)-1]
		p.comments(&p.peer.Comment)
	default:
		p.section, p.peer = name, nil
		p.Wrong(at, "", "%s has no section [%s]: only [Interface] and [Peer]", tool, strings.Trim(foreign.Shown(name), `"`))
	}
}

func (p *parser) interfaceKey(at foreign.Pos, key, value string) {
	d := p.d
	d.Mark(key, at)
	switch strings.ToLower(key) {
	case "privatekey":
		d.PrivateKey = p.PrivateKey(at, "PrivateKey", value)
	case "listenport":
		d.ListenPort = p.decimal(at, "ListenPort", value)
	case "fwmark":
		if !strings.EqualFold(value, "off") {
			d.FwMark = uint32(p.Number(at, "FwMark", value, 0, foreign.Max32))
			p.saved = value == "0xca6c" // 51820
		}
	case "mtu":
		if d.MTU = 0; value != "" { // as if there were no such line (cmd_up of wg-quick)
			d.MTU = p.Number(at, "MTU", value, 1, math.MaxUint16)
		}
	case "address":
		p.addresses(at, value)
	case "dns":
		d.DNS = append(d.DNS, listed(value)...)
	case "table":
		p.table(at, value)
	case "saveconfig":
		// SaveConfig writes the kernel's state into the file on the way down. Here the file
		// in git counts.
	case "preup", "postup", "predown", "postdown":
		if value != "" {
			p.hooks = append(p.hooks, hook{at, key, value})
		}
	default:
		p.other(at, "Interface", key, interfaceKeys)
	}
}

func (p *parser) addresses(at foreign.Pos, value string) {
	for _, s := range listed(value) {
		if s == "peer" {
			p.Wrong(at, "take out this line and the addresses before and after it, and write PostUp = ip address add ADDRESS peer "+
				"OTHER dev %i", "Address: wg-quick save wrote this word of ip(8) for an address with a far end, and wg-quick up fails with it")
			return
		}
		if prefix, ok := p.Prefix(at, "Address", s); ok {
			p.d.Addresses = append(p.d.Addresses, foreign.Address{Pos: at, Local: prefix})
		}
	}
}

// table reads Table= as cmd_up of wg-quick does: an empty value is "auto".
func (p *parser) table(at foreign.Pos, value string) {
	p.d.Table, p.off = 0, false
	switch strings.ToLower(value) {
	case "", "auto", "main", "254":
	case "off":
		p.off = true
	case "default":
		p.d.Table = 253
	default:
		if c := value[0]; c < '0' || c > '9' {
			p.off = true // in the main table the routes would take all packets
			p.left(at, "Table", "only the host knows a table of that name, so its routes are left out: write the number, which is in "+
				"/etc/iproute2/rt_tables")
			return
		}
		p.d.Table = p.Number(at, "Table", value, 1, foreign.Max32)
	}
}

func (p *parser) peerKey(at foreign.Pos, key, value string) {
	peer := p.peer
	is := func(name string) bool { return strings.EqualFold(key, name) }
	if value == "" && (is("PresharedKey") || is("Endpoint") || is("AllowedIPs")) {
		p.left(at, key, "it is empty, and wg(8) refuses the line")
		return
	}
	switch {
	case is("PublicKey"):
		peer.PublicKey = p.PublicKey(at, "PublicKey", value)
	case is("PresharedKey"):
		peer.PresharedKey = p.PresharedKey(at, "PresharedKey", value)
	case is("Endpoint"): // wg(8) takes the blanks out of a line
		peer.Endpoint, peer.EndpointAt = p.Endpoint(at, "Endpoint", noBlanks.Replace(value)), at
	case is("PersistentKeepalive"):
		if !strings.EqualFold(value, "off") {
			peer.Keepalive = p.decimal(at, "PersistentKeepalive", value)
		}
	case is("AllowedIPs"):
		peer.AllowedAt = at
		for s := range list(value) {
			p.allowed(at, s)
		}
	default:
		p.other(at, "Peer", key, peerKeys)
	}
}

// allowed reads an allowed IP. A "+" before it adds it, which is what happens anyway. A "-"
// removes it, which makes sense only for `wg set` (wg(8) of 1.0.20250521 and later).
func (p *parser) allowed(at foreign.Pos, s string) {
	if strings.HasPrefix(s, "-") {
		p.Wrong(at, "leave the prefix out where it is added", "AllowedIPs: %s takes a prefix away", foreign.Shown(s))
		return
	}
	prefix, ok := p.Prefix(at, "AllowedIPs", strings.TrimPrefix(s, "+"))
	if !ok || slices.Contains(p.peer.AllowedIPs, prefix.Masked()) {
		return
	}
	p.peer.AllowedIPs = append(p.peer.AllowedIPs, prefix.Masked())
}

// decimal reads a number of 16 bits, which wg(8) takes in decimal alone (parse_port,
// parse_persistent_keepalive in wireguard-tools' config.c).
func (p *parser) decimal(at foreign.Pos, key, value string) int {
	if len(value) > 1 && strings.ContainsRune("xX", rune(value[1])) {
		p.Wrong(at, "", "%s: %s is not decimal, and wg(8) takes no other number here", key, foreign.Shown(value))
		return 0
	}
	return p.Number(at, key, value, 0, math.MaxUint16)
}

func (p *parser) left(at foreign.Pos, what, why string) {
	p.d.Left = append(p.d.Left, foreign.Left{Pos: at, What: what, Why: why})
}

// elsewhere are keys that only other programs have in such a file, with what they do there.
var elsewhere = map[string]string{
	"includedapplications": "which applications use the tunnel is a setting of WireGuard for Android: on a host all of them do",
	"excludedapplications": "which applications do not use the tunnel is a setting of WireGuard for Android: on a host all of them do",
	"reserved": "programs for Cloudflare WARP write these bytes into each packet, where the kernel's WireGuard has zeros: a server " +
		"that asks for them does not answer",
}

// other handles a key that wg-quick does not have.
func (p *parser) other(at foreign.Pos, section, key string, known []string) {
	word := strings.ToLower(key)
	why := elsewhere[word]
	switch {
	case why != "":
		p.left(at, key, why)
	case section == "Peer" && (word == "name" || word == "description"):
		p.Wrong(at, "begin the line with #, as a comment", "wg-quick has no key %s in [Peer]", key)
	default:
		p.Unknown(at, section, key, known)
	}
}

var noBlanks = strings.NewReplacer(" ", "", "\t", "")

// listed splits the value of a key that only wg-quick reads, at commas and blanks
// (parse_options in wg-quick's linux.bash).
func listed(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// list splits a value at commas, as wg(8) does, which ignores blanks. An empty value has nothing
// in it; otherwise there has to be something before and after each comma (parse_allowedips in
// wireguard-tools' config.c).
func list(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := range strings.SplitSeq(value, ",") {
			if s = strings.TrimSpace(s); value != "" && !yield(s) {
				return
			}
		}
	}
}

// settle decides what depends on the whole file.
func (p *parser) settle() {
	d := p.d
	d.Peers = merged(p.Reader, d.Peers)
	policy := false
	for _, h := range p.hooks {
		if is, ok := foreign.PolicyRule(h.command); ok && p.off {
			policy = policy || is
			continue
		}
		d.Hook(h.at, h.key, h.command)
	}
	if policy {
		d.EndPolicy()
	}
	if p.off {
		for i := range d.Peers {
			d.Peers[i].Routed = false
		}
	} else if p.ownMark() {
		d.FwMark = 0
	}
}

// ownMark reports whether `wg-quick save` wrote the mark. If there is a default route and
// no mark, wg-quick sets one, the number of its table, and saves it with the rest
// (add_default and save_config of wireguard-tools 1.0.20260223).
func (p *parser) ownMark() bool {
	byDefault := slices.ContainsFunc(p.d.Peers, func(p foreign.Peer) bool {
		return slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a.Bits() == 0 })
	})
	return p.saved && byDefault && p.d.Table == 0 && len(p.d.Addresses) > 0
}

// merged returns the peers as the kernel has them in the end. If two have the same key, the
// later endpoint, preshared key and keepalive count, and only the later allowed IPs,
// because each peer of `wg setconf` replaces them (WGPEER_F_REPLACE_ALLOWEDIPS). If two
// have the same prefix, the later one gets it.
func merged(r *foreign.Reader, peers []foreign.Peer) []foreign.Peer {
	if len(peers) == 0 {
		return nil
	}
	if allDiffer(peers) {
		return peers
	}
	byKey := make(map[keyring.PublicKey]int, len(peers))
	owner := make(map[netip.Prefix]int, len(peers))
	all := peers[:0]
	for _, p := range peers {
		if p.PublicKey.IsZero() {
			r.Wrong(p.Pos, "", "the [Peer] has no PublicKey")
			continue
		}
		i, again := byKey[p.PublicKey]
		if !again {
			i = len(all)
			byKey[p.PublicKey] = i
			all = append(all, p)
		} else {
			all[i] = later(all[i], p)
		}
		for _, prefix := range p.AllowedIPs {
			if o, ok := owner[prefix]; ok && o != i {
				all[o].AllowedIPs = slices.DeleteFunc(all[o].AllowedIPs, func(q netip.Prefix) bool { return q == prefix })
			}
			owner[prefix] = i
		}
	}
	return all
}

// later returns peer a after b, with the same key, was read.
func later(a, b foreign.Peer) foreign.Peer {
	a.AllowedIPs, a.AllowedAt, a.Comment = b.AllowedIPs, b.AllowedAt, append(a.Comment, b.Comment...)
	a.Beside = append(a.Beside, b.Beside...)
	if b.Endpoint != "" {
		a.Endpoint, a.EndpointAt = b.Endpoint, b.EndpointAt
	}
	if !b.PresharedKey.IsZero() {
		a.PresharedKey = b.PresharedKey
	}
	if b.Keepalive != 0 {
		a.Keepalive = b.Keepalive
	}
	return a
}
