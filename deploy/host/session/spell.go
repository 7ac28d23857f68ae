package session

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"

	"wgkeys/deploy/apply"
)

// spell encodes all of a state that a plan depends on: two states with the same encoding
// have the same plan. It leaves out what changes by itself: a peer's traffic, its last
// handshake, and the port that it sends from, since a plan asks only whether a peer has an
// endpoint, and in which route that is. What follows from these is in the state itself,
// such as the names that were looked up again.
func spell(s *apply.State) []byte {
	rest := *s
	rest.Peers, rest.Routes = nil, nil
	rest.Hurdles.Digest = 0 // of routes that do not concern the view
	b := make([]byte, 0, 4096+128*len(s.Peers)+64*len(s.Routes))
	b = appendValue(b, reflect.ValueOf(rest))
	b = appendPeers(b, s)
	return appendRoutes(b, s.Routes)
}

// appendPeers encodes the peers in the kernel's order, which does not change. A userspace
// device has them in no order: they are sorted by their keys.
func appendPeers(b []byte, s *apply.State) []byte {
	order := make([]*apply.Peer, len(s.Peers))
	for i := range order {
		order[i] = &s.Peers[i]
	}
	if s.Link != nil && s.Link.Kind != "wireguard" {
		slices.SortFunc(order, func(a, b *apply.Peer) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	}
	for _, p := range order {
		b = append(b, p.PublicKey[:]...)
		b = appendAddr(b, p.Endpoint.Addr())
		b = binary.AppendUvarint(b, uint64(p.Keepalive))
		b = append(append(b, p.PSK...), 0)
		b = binary.AppendUvarint(b, uint64(len(p.AllowedIPs)))
		for _, a := range p.AllowedIPs {
			b = append(appendAddr(b, a.Addr()), byte(a.Bits()))
		}
	}
	return b
}

func appendRoutes(b []byte, routes []apply.Route) []byte {
	for _, r := range routes {
		b = append(appendAddr(b, r.Prefix.Addr()), byte(r.Prefix.Bits()))
		b = appendAddr(b, r.Gateway)
		b = binary.AppendUvarint(b, uint64(r.Metric))
		b = binary.AppendUvarint(b, uint64(r.Table))
	}
	return b
}

// appendAddr appends an address, or none, with its length.
func appendAddr(b []byte, a netip.Addr) []byte {
	start := len(b)
	b = append(b, 0)
	b, _ = a.AppendBinary(b) // it never fails
	b[start] = byte(len(b) - start)
	return b
}

// appendValue encodes any value by its content: not by its address, nor in the order of a
// map.
func appendValue(b []byte, v reflect.Value) []byte {
	if text, ok := textOf(v); ok {
		return appendPart(b, text)
	}
	switch v.Kind() {
	case reflect.Invalid:
		return append(b, 0)
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
		return b
	case reflect.Slice, reflect.Array:
		b = appendSize(b, v.Len())
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		return appendMap(b, v)
	case reflect.String:
		return appendPart(b, []byte(v.String()))
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	}
	return appendNumber(b, v)
}

// textOf is the text of a value that has one, such as an address or an error.
func textOf(v reflect.Value) (text []byte, ok bool) {
	if !v.IsValid() || !v.CanInterface() {
		return nil, false
	}
	pointer := v.Kind() == reflect.Pointer
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler:
		if pointer {
			return nil, false // the text of what it points to
		}
		text, err := x.MarshalText()
		return text, err == nil
	case error:
		if pointer && v.IsNil() {
			return nil, false
		}
		return []byte(x.Error()), true
	}
	return nil, false
}

func appendMap(b []byte, v reflect.Value) []byte {
	var entries [][]byte
	for key, value := range v.Seq2() {
		entries = append(entries, appendValue(appendValue(nil, key), value))
	}
	slices.SortFunc(entries, bytes.Compare)
	b = appendSize(b, len(entries))
	for _, e := range entries {
		b = appendPart(b, e)
	}
	return b
}

func appendNumber(b []byte, v reflect.Value) []byte {
	switch {
	case v.CanInt():
		return binary.AppendVarint(b, v.Int())
	case v.CanUint():
		return binary.AppendUvarint(b, v.Uint())
	}
	panic("a state has a value of kind " + v.Kind().String())
}
