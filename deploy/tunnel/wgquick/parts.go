package wgquick

import (
	"bytes"
	"net/netip"

	"wgkeys/deploy/tunnel/foreign"
	"wgkeys/keyring"
	"wgkeys/keyring/parallel"
)

// A large file is read in parts at the same time, each on a processor of its own. A part
// begins with a peer, before which no comment waits for what follows. If the parts depend on
// each other in any way, or something is wrong, the file is read again as a whole: so the
// parts decide nothing but how long it takes.

// leastPart is how many bytes are worth a part.
const leastPart = 64 << 10

// peerHeader is how nearly everybody writes it.
const peerHeader = "\n[Peer]"

// split cuts a text into parts.
func split(text []byte) (list [][]byte) {
	from := 0
	for _, r := range parallel.Ranges(len(text), leastPart)[1:] {
		start := max(from, r.From)
		n := bytes.Index(text[start:], []byte(peerHeader))
		if n < 0 {
			break
		}
		at := start + n + 1
		list, from = append(list, text[from:at]), at
	}
	return append(list, text[from:])
}

// parts reads the parts of a file, and returns nil if it cannot. Only in the first one something
// may be the interface's.
func parts(f foreign.File, list [][]byte) *parser {
	if len(list) < 2 {
		return nil
	}
	all, counts := make([]*parser, len(list)), make([]int, len(list)) // of peers
	total, above := 0, make([]int, len(list)+1)
	for i, text := range list {
		counts[i], above[i+1] = headers(text), above[i]+bytes.Count(text, []byte("\n"))
		total += counts[i]
	}
	peers := make([]foreign.Peer, total)
	for i, room := 0, peers; i < len(list); i++ {
		all[i] = newParser(f, &foreign.Reader{Tool: tool})
		all[i].d.Peers, room = room[:0:counts[i]], room[counts[i]:]
	}
	parallel.Each(len(list), func(i int) { all[i].lines(list[i], above[i]) })
	for i, p := range all {
		first, last := i == 0, i == len(all)-1
		if p.Err() != nil || !last && !p.notes.None() || !first && p.d.Lines != nil || len(p.d.Peers) != counts[i] {
			return nil
		}
		p.end()
	}
	whole := all[0]
	for _, p := range all[1:] {
		whole.section = p.section
		whole.d.Comment = append(whole.d.Comment, p.d.Comment...)
		whole.d.Left = append(whole.d.Left, p.d.Left...)
	}
	whole.d.Peers = peers
	return whole
}

// headers counts the headers of peers.
func headers(text []byte) int {
	n := bytes.Count(text, []byte(peerHeader))
	if bytes.HasPrefix(text, []byte(peerHeader[1:])) {
		n++
	}
	return n
}

// allDiffer reports whether each peer has a key, and no two peers the same key or prefix.
func allDiffer(peers []foreign.Peer) bool {
	many := len(peers)
	keys, prefixes, prefixCount := make(map[keyring.PublicKey]bool, many), make(map[netip.Prefix]bool, many), 0
	const some = 500
	parallel.Do(many >= some, func() {
		for i := range peers {
			keys[peers[i].PublicKey] = true
		}
	}, func() {
		for i := range peers {
			prefixCount += len(peers[i].AllowedIPs)
			for _, prefix := range peers[i].AllowedIPs {
				prefixes[prefix] = true
			}
		}
	})
	return !keys[keyring.PublicKey{}] && len(keys) == many && len(prefixes) == prefixCount
}
