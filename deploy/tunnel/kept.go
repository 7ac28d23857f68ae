package tunnel

import (
	"encoding/binary"
	"net/netip"
)

// AppendBinary appends to b what [KeptReading] needs to restore a reading with the same
// text, and reports whether there is anything to keep: a text in another spelling is parsed
// again each time.
//
// Numbers are encoded as in encoding/binary; strings and addresses are preceded by their
// length. The encoding is for this version of the program only.
func (r *Reading) AppendBinary(b []byte) ([]byte, bool) {
	if len(r.peers.spans)+len(r.routes.spans) == 0 {
		return b, false
	}
	b = appendSpans(b, r.peers.spans)
	for i := range r.peers.values {
		b = appendPeer(b, &r.peers.values[i])
	}
	b = appendSpans(b, r.routes.spans)
	for i := range r.routes.values {
		b = appendRoute(b, &r.routes.values[i])
	}
	return b, true
}

func appendSpans(b []byte, spans []span) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = binary.NativeEndian.AppendUint32(b, s.from)
		b = binary.NativeEndian.AppendUint32(b, s.to)
	}
	return b
}

func appendPeer(b []byte, p *Peer) []byte {
	b = appendText(b, p.Name)
	b = append(b, p.PublicKey[:]...)
	b = append(b, p.NextPublicKey[:]...)
	b = appendText(b, p.PresharedKeyFile)
	b = appendText(b, p.Endpoint)
	b = binary.AppendUvarint(b, uint64(p.Keepalive))
	b = binary.AppendUvarint(b, uint64(len(p.AllowedIPs)))
	for _, a := range p.AllowedIPs {
		b = appendPrefix(b, a)
	}
	return b
}

func appendRoute(b []byte, r *Route) []byte {
	b = appendPrefix(b, r.Prefix)
	b = appendAddr(b, r.Gateway)
	b = binary.AppendUvarint(b, uint64(r.Metric))
	return appendText(b, r.Peer)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	return append(appendAddr(b, p.Addr()), byte(p.Bits()))
}

// appendAddr needs no zone: a valid view has none.
func appendAddr(b []byte, a netip.Addr) []byte {
	at := len(b)
	b = append(b, 0)
	b, _ = a.WithZone("").AppendBinary(b) // it never fails
	b[at] = byte(len(b) - at - 1)
	return b
}

// KeptReading restores a reading that [Reading.AppendBinary] has encoded, or returns nil.
// Its View is missing: it serves only to read another text.
func KeptReading(text, kept string) *Reading {
	k := keeper{rest: kept, ok: true}
	r := &Reading{text: text}
	r.peers.spans = k.spans(len(text))
	r.peers.values = make([]Peer, len(r.peers.spans))
	k.prefixes = make([]netip.Prefix, 0, len(r.peers.spans)+len(r.peers.spans)/8)
	for i := range r.peers.values {
		k.peer(&r.peers.values[i])
	}
	r.routes.spans = k.spans(len(text))
	r.routes.values = make([]Route, len(r.routes.spans))
	for i := range r.routes.values {
		k.route(&r.routes.values[i])
	}
	if !k.ok || k.rest != "" {
		return nil
	}
	return r
}

// A keeper decodes a reading. After an error it is no longer ok.
type keeper struct {
	rest     string
	ok       bool
	prefixes []netip.Prefix // offsets of all peers
}

func (k *keeper) spans(size int) []span {
	const width = 8
	n := k.number()
	if n > uint64(len(k.rest)/width) {
		k.ok = false
		return nil
	}
	all := make([]span, n)
	b := []byte(k.take(int(n) * width))
	for i := range all {
		all[i] = span{binary.NativeEndian.Uint32(b[i*width:]), binary.NativeEndian.Uint32(b[i*width+4:])}
		k.ok = k.ok && all[i].from <= all[i].to && int(all[i].to) <= size
	}
	return all
}

func (k *keeper) peer(p *Peer) {
	p.Name = k.text()
	copy(p.PublicKey[:], k.take(len(p.PublicKey)))
	copy(p.NextPublicKey[:], k.take(len(p.NextPublicKey)))
	p.PresharedKeyFile = k.text()
	p.Endpoint = k.text()
	p.Keepalive = int(k.number())
	from := len(k.prefixes)
	for range k.number() {
		if !k.ok {
			return
		}
		k.prefixes = append(k.prefixes, k.prefix())
	}
	p.AllowedIPs = k.prefixes[from:len(k.prefixes):len(k.prefixes)]
}

func (k *keeper) route(r *Route) {
	r.Prefix = k.prefix()
	r.Gateway = k.addr()
	r.Metric = int(k.number())
	r.Peer = k.text()
}

func (k *keeper) take(n int) string {
	if n > len(k.rest) {
		k.ok, k.rest = false, ""
		return ""
	}
	part := k.rest[:n]
	k.rest = k.rest[n:]
	return part
}

func (k *keeper) number() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := k.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	k.ok = false
	return 0
}

func (k *keeper) byte() byte {
	if k.rest == "" {
		k.ok = false
		return 0
	}
	b := k.rest[0]
	k.rest = k.rest[1:]
	return b
}

func (k *keeper) text() string {
	n := k.number()
	if n > uint64(len(k.rest)) {
		k.ok = false
		return ""
	}
	return k.take(int(n))
}

func (k *keeper) addr() netip.Addr {
	switch n := int(k.byte()); n {
	case 0:
		return netip.Addr{}
	case 4:
		var a [4]byte
		copy(a[:], k.take(n))
		return netip.AddrFrom4(a)
	case 16:
		var a [16]byte
		copy(a[:], k.take(n))
		return netip.AddrFrom16(a)
	}
	k.ok = false
	return netip.Addr{}
}

func (k *keeper) prefix() netip.Prefix {
	addr := k.addr()
	return netip.PrefixFrom(addr, int(k.byte()))
}
