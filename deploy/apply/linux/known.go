package linux

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wgkeys/deploy/apply"
	"wgkeys/deploy/tunnel"
)

// A known remembers that there was nothing to do: a plan is made from the view,
// the journals and what the kernel has, and from nothing else, so where all three
// are as they were when the plan was empty it is empty again. Ten thousand peers
// need not be parsed for that, nor compared one by one.
//
// The kernel is asked as ever: what somebody changed there makes another digest,
// and the plan is made.
//
// The file, TUNNEL.known beside the journal, is a line of JSON and then the view's
// text and the journals, byte for byte. It holds no secret; down removes it.
type known struct {
	State   string        `json:"state"`   // digest of what the kernel had
	Notes   []string      `json:"notes"`   // of the plan
	Finds   []string      `json:"finds"`   // likewise
	View    *tunnel.View  `json:"view"`    // as much of it as decides what is looked at
	Journal apply.Entries `json:"journal"` // likewise
}

// Known returns the empty plan for the view of this text, if it is known to be
// empty, or nil. Whatever goes wrong here goes wrong again where the plan is made.
func (s *Session) Known(ctx context.Context, name string, text []byte) *apply.Plan {
	file, err := os.ReadFile(apply.KnownPath(RunDir, name))
	if err != nil {
		return nil
	}
	line, rest, _ := bytes.Cut(file, []byte("\n"))
	inputs, err := inputsOf(name, text)
	if err != nil || !are(rest, inputs) {
		return nil
	}
	var k known
	if json.Unmarshal(line, &k) != nil || k.View == nil {
		return nil
	}
	state, err := s.Observe(ctx, name, k.View, k.Journal)
	if err != nil || digestOf(state) != k.State {
		return nil
	}
	return &apply.Plan{Tunnel: name, Host: k.View.Host, Notes: k.Notes, Findings: k.Finds}
}

// Remember writes down that the plan that this session made last, for the view of
// this text, is empty, if it is.
func (s *Session) Remember(plan *apply.Plan, view *tunnel.View, text []byte) error {
	if len(plan.Steps) > 0 || len(s.damaged) > 0 {
		return nil
	}
	inputs, err := inputsOf(plan.Tunnel, text)
	if err != nil {
		return err
	}
	v := lookedAt(view)
	line, err := json.Marshal(known{digestOf(s.state), plan.Notes, plan.Findings, v, entriesFor(v, s.mine.Entries)})
	if err != nil {
		return err
	}
	file := append(line, '\n')
	for _, part := range inputs {
		file = append(appendSize(file, part), part...)
	}
	return apply.WriteFile(apply.KnownPath(RunDir, plan.Tunnel), file, 0o600)
}

// inputsOf is all that a plan is made from besides the kernel. Another version of
// this program may plan otherwise, and look at something else.
func inputsOf(name string, text []byte) ([][]byte, error) {
	program, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	inputs := [][]byte{fmt.Appendf(nil, "%d %d", program.Size(), program.ModTime().UnixNano()), text}
	journals, err := filepath.Glob(filepath.Join(RunDir, "*.journal")) // sorted
	for _, path := range journals {
		journal, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, []byte(path), journal)
	}
	return inputs, err
}

// are reports whether file is exactly these inputs.
func are(file []byte, inputs [][]byte) (same bool) {
	for _, part := range inputs {
		for _, b := range [][]byte{appendSize(nil, part), part} {
			if file, same = bytes.CutPrefix(file, b); !same {
				return false
			}
		}
	}
	return len(file) == 0
}

// appendSize keeps a part from running into the next one.
func appendSize(b, part []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(len(part))) }

// lookedAt returns the view without the peers and routes that [Kernel.Observe]
// does not ask for: nearly all of ten thousand.
func lookedAt(v *tunnel.View) *tunnel.View {
	sketch := *v
	sketch.Peers, sketch.Routes = nil, nil
	reached := false // mayCapture asks whether any peer is
	for _, p := range v.Peers {
		_, err := netip.ParseAddrPort(p.Endpoint)
		named := err != nil && p.Endpoint != ""
		if named || p.PresharedKeyFile != "" || !p.NextPublicKey.IsZero() || p.Endpoint != "" && !reached {
			sketch.Peers = append(sketch.Peers, p)
		}
		reached = reached || p.Endpoint != ""
	}
	for _, r := range v.Routes {
		if !r.Prefix.IsSingleIP() { // mayCapture, and rangesOf
			sketch.Routes = append(sketch.Routes, r)
		}
	}
	return &sketch
}

// entriesFor returns the entries that it asks for: not those of routes, and of
// peers those that lookedAt leaves.
func entriesFor(v *tunnel.View, journal apply.Entries) apply.Entries {
	peers := map[string]bool{}
	for _, p := range v.Peers {
		peers["peer "+p.PublicKey.String()] = true
	}
	kept := apply.Entries{}
	for resource, e := range journal {
		kind, _, _ := strings.Cut(resource, " ")
		if kind != "route" && (kind != "peer" || peers[resource]) {
			kept[resource] = e
		}
	}
	return kept
}

// digestOf is a digest of all of a state that a plan depends on. It leaves out
// when a peer was heard of last, and the port that it sends from: a plan asks
// whether a peer has an endpoint, and in which route that lies.
func digestOf(s *apply.State) string {
	rest := *s
	rest.Link, rest.Peers, rest.Routes = nil, nil, nil
	rest.Hurdles.Routes = nil // those that the view has to do with; all are in its digest
	h := sha256.New()
	for _, part := range [][]byte{
		fmt.Appendf(nil, "%+v %+v", rest, s.Link), // maps in order of their keys
		peersOf(s),
		routesOf(s),
	} {
		h.Write(appendSize(nil, part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// peersOf spells the peers by key: a device in user space has them in no order.
func peersOf(s *apply.State) []byte {
	peers := make([]*apply.Peer, len(s.Peers))
	for i := range peers {
		peers[i] = &s.Peers[i]
	}
	slices.SortFunc(peers, func(a, b *apply.Peer) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	text := make([]byte, 0, 128*len(peers))
	for _, p := range peers {
		text = append(text, p.PublicKey[:]...)
		text = appendAddr(text, p.Endpoint.Addr())
		text = binary.AppendUvarint(text, uint64(p.Keepalive))
		text = append(append(text, p.PSK...), 0)
		text = binary.AppendUvarint(text, uint64(len(p.AllowedIPs)))
		for _, a := range p.AllowedIPs {
			text = append(appendAddr(text, a.Addr()), byte(a.Bits()))
		}
	}
	return text
}

func routesOf(s *apply.State) []byte {
	text := make([]byte, 0, 64*len(s.Routes))
	for _, r := range s.Routes {
		text = append(appendAddr(text, r.Prefix.Addr()), byte(r.Prefix.Bits()))
		text = appendAddr(text, r.Gateway)
		text = binary.AppendUvarint(text, uint64(r.Metric))
		text = binary.AppendUvarint(text, uint64(r.Table))
	}
	return text
}

// appendAddr appends an address, or none, and how long it is.
func appendAddr(text []byte, a netip.Addr) []byte {
	start := len(text)
	text = append(text, 0)
	text, _ = a.AppendBinary(text) // it never fails
	text[start] = byte(len(text) - start)
	return text
}
