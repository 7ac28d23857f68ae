// Package wgquick reads and writes the files of wg-quick(8), and those of `wg setconf` and
// `wg showconf`, which lack the keys that only wg-quick knows (wg(8), "CONFIGURATION FILE
// FORMAT").
package wgquick

import (
	"bytes"
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
// line, blanks are ignored, and so is case in keys and sections. Of keys and peers that
// occur twice the same one counts as with them.
func Parse(files []foreign.File) ([]*foreign.Device, error) {
	var devices []*foreign.Device
	r := &foreign.Reader{Tool: tool}
	for _, f := range files {
		p := &parser{Reader: r, d: &foreign.Device{
			Pos:  foreign.Pos{File: f.Name, Line: 1},
			Name: strings.TrimSuffix(path.Base(f.Name), ".conf"), ByFile: true, Alias: f.Interface,
		}}
		p.file(f)
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
	pending []string      // comments that may belong to the next section
	inline  int           // how many of them are on the current line
	first   bool          // no key of the current peer was read yet
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

func (p *parser) file(f foreign.File) {
	number := 0
	p.d.Peers = make([]foreign.Peer, 0, bytes.Count(f.Text, []byte("\n[Peer]")))
	for line := range bytes.Lines(f.Text) {
		number++
		p.line(foreign.Pos{File: f.Name, Line: number}, strings.TrimSpace(string(line)))
	}
	p.comments(&p.d.Comment)
	if p.section == "" {
		p.Wrong(foreign.Pos{File: f.Name, Line: 1}, "", "no [Interface] is in it: it is no file of %s", tool)
		return
	}
	p.settle()
}

func (p *parser) line(at foreign.Pos, line string) {
	switch {
	case line == "":
		return
	case line[0] == '#':
		if text, ok := foreign.Comment(line); ok {
			p.pending = append(p.pending, text)
		}
		return
	}
	text, comment, _ := strings.Cut(line, "#")
	p.inline = 0
	if text, ok := foreign.Comment(comment); ok {
		p.pending, p.inline = append(p.pending, text), 1
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

func (p *parser) comments(to *[]string) { *to, p.pending = append(*to, p.pending...), nil }

// beside records which comments are about a key of a peer rather than the peer itself:
// those at the end of the line of any key but PublicKey, and those before any key but the
// first.
func (p *parser) beside(key string) {
	public, first := strings.EqualFold(key, "PublicKey"), p.first
	if p.first = false; len(p.pending) == 0 || public && first {
		return
	}
	own := len(p.pending)
	if first || public {
		own -= p.inline
	}
	switch {
	case public: // a comment on its line may name the peer
		p.peer.Beside = append(p.peer.Beside, p.pending[:own]...)
	case first: // and so may those before the first key
		p.peer.Beside = append(p.peer.Beside, p.pending[own:]...)
	default:
		p.peer.Beside = append(p.peer.Beside, p.pending...)
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
		p.section, p.first = "Peer", true
		p.peer = &foreign.Peer{Pos: at, Routed: true}
		p.d.Peers = append(p.d.Peers, *p.peer)
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
		d.ListenPort = p.Number(at, "ListenPort", value, 0, math.MaxUint16)
	case "fwmark":
		if !strings.EqualFold(value, "off") {
			d.FwMark = uint32(p.Number(at, "FwMark", value, 0, foreign.Max32))
			p.saved = value == "0xca6c" // 51820
		}
	case "mtu":
		d.MTU = p.Number(at, "MTU", value, 1, math.MaxUint16)
	case "address":
		p.addresses(at, value)
	case "dns":
		d.DNS = append(d.DNS, words(value)...)
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
		p.Unknown(at, "Interface", key, interfaceKeys)
	}
}

func (p *parser) addresses(at foreign.Pos, value string) {
	for _, s := range words(value) {
		if prefix, ok := p.Prefix(at, "Address", s); ok {
			p.d.Addresses = append(p.d.Addresses, foreign.Address{Pos: at, Local: prefix})
		}
	}
}

// table reads Table= as cmd_up of wg-quick does: an empty value is "auto".
func (p *parser) table(at foreign.Pos, value string) {
	p.d.Table = 0
	switch strings.ToLower(value) {
	case "", "auto", "main", "254":
	case "off":
		p.off = true
	case "default":
		p.d.Table = 253
	default:
		if c := value[0]; c < '0' || c > '9' {
			p.Wrong(at, "write its number, which is in /etc/iproute2/rt_tables", "Table: %s is a name that a host gives a table",
				foreign.Shown(value))
			return
		}
		p.d.Table = p.Number(at, "Table", value, 1, foreign.Max32)
	}
}

func (p *parser) peerKey(at foreign.Pos, key, value string) {
	peer := p.peer
	switch strings.ToLower(key) {
	case "publickey":
		peer.PublicKey = p.PublicKey(at, "PublicKey", value)
	case "presharedkey":
		peer.PresharedKey = p.PresharedKey(at, "PresharedKey", value)
	case "endpoint":
		peer.Endpoint, peer.EndpointAt = p.Endpoint(at, "Endpoint", value), at
	case "persistentkeepalive":
		if !strings.EqualFold(value, "off") {
			peer.Keepalive = p.Number(at, "PersistentKeepalive", value, 0, math.MaxUint16)
		}
	case "allowedips":
		peer.AllowedAt = at
		for _, s := range list(value) {
			p.allowed(at, s)
		}
	default:
		p.Unknown(at, "Peer", key, peerKeys)
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

// words splits the value of a key that only wg-quick reads, at commas and blanks
// (parse_options in wg-quick's linux.bash).
func words(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// list splits a value at commas, as wg(8) does, which ignores blanks.
func list(value string) (words []string) {
	for s := range strings.SplitSeq(value, ",") {
		if s = strings.TrimSpace(s); s != "" {
			words = append(words, s)
		}
	}
	return words
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

// merged returns the peers as the kernel has them in the end. Of two with one key, the
// later endpoint, preshared key and keepalive count, and only the later allowed IPs,
// because each peer of `wg setconf` replaces them (WGPEER_F_REPLACE_ALLOWEDIPS). Of two
// with one prefix, the later one has it.
func merged(r *foreign.Reader, peers []foreign.Peer) []foreign.Peer {
	if len(peers) == 0 {
		return nil
	}
	byKey := make(map[keyring.PublicKey]int, len(peers))
	owner := make(map[netip.Prefix]int, len(peers))
	all := make([]foreign.Peer, 0, len(peers))
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
