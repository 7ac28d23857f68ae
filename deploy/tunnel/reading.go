package tunnel

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"wgkeys/keyring/fault"
)

// A Reading is a valid view and the text from which it was parsed. In the next text of the
// same tunnel nearly all of ten thousand peers are the same to the byte: only the
// differences are parsed and validated.
type Reading struct {
	View   *View
	fresh  int // how many peers and routes were parsed
	text   string
	peers  section[Peer]
	routes section[Route]
}

// A section is a list of the view and its place in a text.
type section[T any] struct {
	values []T
	spans  []span // of each value in the text
}

type span struct{ from, to uint32 }

// Read parses the text of one view and nothing after it, as [ParseView] does. Before is an
// earlier reading of the same tunnel, or nil: it only saves time. The text must not be
// changed afterwards: the view refers to it, since a copy of three megabytes takes longer
// than to compare them.
func Read(text []byte, before *Reading) (*Reading, error) {
	if len(text) > maxView {
		text = text[:maxView]
	}
	if before == nil {
		before = new(Reading)
	}
	whole := before.text
	if string(text) != whole {
		whole = unsafe.String(unsafe.SliceData(text), len(text))
	}
	if r, d, ok := readAgain(whole, before); ok {
		if r.text == before.text || d.surelyValid(r.View) {
			return r, nil
		}
		return r, r.View.Validate()
	}
	v, err := readJSON(text)
	if err != nil {
		return new(Reading), fault.Wrap(err, "cannot read the view", "", hintFor(err))
	}
	return &Reading{View: v}, v.Validate()
}

// Text is the text that was parsed, if it is spelled as [EncodeView] does.
func (r *Reading) Text() string { return r.text }

// MostlyNew reports whether the earlier reading was of little use.
func (r *Reading) MostlyNew() bool { return 8*r.fresh >= len(r.peers.spans)+len(r.routes.spans) }

// A difference is what a view has, or lacks, compared with the earlier reading.
type difference struct {
	peers  []int  // new or changed, by their indices in the view
	routes []int  // likewise
	gone   []Peer // removed
}

// readAgain parses a text as [EncodeView] spells it, and reports false for any other.
func readAgain(text string, before *Reading) (*Reading, difference, bool) {
	s := &spelling{whole: text, rest: text, ok: true}
	s.peers = cursor[Peer]{before: before.peers, whole: before.text, parse: s.peer, order: byName}
	s.routes = cursor[Route]{before: before.routes, whole: before.text, parse: s.route, order: byPrefix}
	v := s.view()
	fresh := len(s.peers.fresh) + len(s.routes.fresh)
	r := &Reading{v, fresh, text, section[Peer]{v.Peers, s.peers.spans}, section[Route]{v.Routes, s.routes.spans}}
	gone := append(s.peers.gone, s.peers.before.values[s.peers.next:]...)
	return r, difference{s.peers.fresh, s.routes.fresh, gone}, s.ok && s.rest == ""
}

// A cursor goes through a list of a text and of the earlier text in parallel. Differences
// only make it slower: in another order it finds fewer equal values.
type cursor[T any] struct {
	before section[T]
	whole  string            // in which before stands
	next   int               // of before
	parse  func() T          // what differs
	order  func(a, b *T) int // of the list
	spans  []span            // of what was read
	fresh  []int             // what was parsed
	gone   []T               // of before
}

// list reads the list under the key, if it is there.
func (c *cursor[T]) list(s *spelling, key string) []T {
	if !s.has(key) {
		return nil
	}
	if all, ok := c.all(s); ok {
		return all
	}
	room := len(c.before.values) + len(c.before.values)/64 // or about so many
	c.spans = make([]span, 0, room)
	return listOf(s, "\n  ", room, func() T { return c.value(s) })
}

// all takes the whole earlier list, if it is the same.
func (c *cursor[T]) all(s *spelling) ([]T, bool) {
	spans := c.before.spans
	if len(spans) == 0 {
		return nil, false
	}
	from, to := spans[0].from, spans[len(spans)-1].to
	text, begin := c.whole[from:to], s.offset()+uint32(len("[\n    "))
	rest, ok := strings.CutPrefix(s.rest, "[\n    ")
	if ok {
		rest, ok = strings.CutPrefix(rest, text)
	}
	if ok {
		rest, ok = strings.CutPrefix(rest, "\n  ]")
	}
	if !ok {
		return nil, false
	}
	s.rest, c.next, c.spans = rest, len(spans), moved(spans, begin-from)
	return c.before.values, true
}

// moved shifts the spans; the offset wraps around if they begin earlier.
func moved(spans []span, by uint32) []span {
	if by == 0 {
		return spans
	}
	spans = slices.Clone(spans)
	for i := range spans {
		spans[i].from, spans[i].to = spans[i].from+by, spans[i].to+by
	}
	return spans
}

// value reads the next value of the list.
func (c *cursor[T]) value(s *spelling) (v T) {
	from := s.offset()
	if !c.again(s, &v) {
		c.fresh = append(c.fresh, len(c.spans))
		v = c.parse()
		c.pass(&v)
	}
	c.spans = append(c.spans, span{from, s.offset()})
	return v
}

// again takes the earlier value, if the text is the same.
func (c *cursor[T]) again(s *spelling, v *T) bool {
	if c.next == len(c.before.spans) {
		return false
	}
	at := c.before.spans[c.next]
	if !s.has(c.whole[at.from:at.to]) {
		return false
	}
	*v = c.before.values[c.next]
	c.next++
	return true
}

// pass skips the earlier value that v is a change of, and those that were removed.
func (c *cursor[T]) pass(v *T) {
	for ; c.next < len(c.before.values); c.next++ {
		old := &c.before.values[c.next]
		switch order := c.order(old, v); {
		case order == 0:
			c.next++
			return
		case order > 0:
			return
		}
		c.gone = append(c.gone, *old)
	}
}

func byName(a, b *Peer) int    { return cmp.Compare(a.Name, b.Name) }
func byPrefix(a, b *Route) int { return a.Prefix.Compare(b.Prefix) }
